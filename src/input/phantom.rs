//! Ultrasound phantoms (coming in the next commit).
