//! Instruction sets: which exist, which this CPU has, and compiling a loop for each.

use std::fmt;

/// An instruction set that this CPU can run. A value exists only if the CPU has it, so its kernels may be called.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

/// The instruction sets that have kernels on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Plain Rust: the specification.
    Scalar,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX2 as above, plus AVX-VNNI (`vpdpbusd` on 256 bits, VEX encoding).
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX2 as above without AVX-VNNI, plus AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Advanced SIMD, which every 64-bit ARM CPU has (Cortex-A53, A72).
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON plus `sdot` (Armv8.2 FEAT_DotProd: Cortex-A55, A76, A78AE).
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    /// NEON and `sdot` plus `smmla` (Armv8.6 FEAT_I8MM: Cortex-A510, A710, Neoverse V1).
    #[cfg(target_arch = "aarch64")]
    I8mm,
}

/// Environment variable that forces an instruction set.
pub const VARIABLE: &str = "MICRORAPTOR_ISA";

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// No instruction set of this name has kernels.
    #[error("no instruction set is called '{name}'; this CPU can run {available}")]
    Unknown {
        /// The requested name.
        name: String,
        /// The instruction sets that this CPU can run.
        available: String,
    },
    /// This CPU lacks the instruction set.
    #[error("this CPU has no {name}; it can run {available}")]
    Lacking {
        /// The requested name.
        name: String,
        /// The instruction sets that this CPU can run.
        available: String,
    },
}

impl Kind {
    /// From the slowest to the fastest.
    const ALL: &[Kind] = &[
        Kind::Scalar,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2,
        #[cfg(target_arch = "x86_64")]
        Kind::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512Vnni,
        #[cfg(target_arch = "aarch64")]
        Kind::Neon,
        #[cfg(target_arch = "aarch64")]
        Kind::Dotprod,
        #[cfg(target_arch = "aarch64")]
        Kind::I8mm,
    ];

    fn detected(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            match self {
                Kind::Scalar => true,
                Kind::Avx2 => avx2,
                Kind::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Kind::Avx512Vnni => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512vnni")
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected;
            let dotprod = is_aarch64_feature_detected!("dotprod");
            match self {
                Kind::Scalar => true,
                Kind::Neon => is_aarch64_feature_detected!("neon"),
                Kind::Dotprod => dotprod,
                Kind::I8mm => dotprod && is_aarch64_feature_detected!("i8mm"),
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        true
    }
}

/// Names of every instruction set that the project has kernels for, on any architecture.
const NAMES: &[&str] = &["scalar", "avx2", "avxvnni", "avx512vnni", "neon", "dotprod", "i8mm"];

impl Isa {
    /// Plain Rust, on any CPU: the specification against which the others are compared.
    pub const SCALAR: Isa = Isa(Kind::Scalar);

    /// The instruction sets that this CPU can run, from the slowest to the fastest.
    pub fn available() -> Vec<Isa> {
        Kind::ALL.iter().filter(|kind| kind.detected()).map(|&kind| Isa(kind)).collect()
    }

    /// The fastest instruction set that this CPU can run.
    pub fn best() -> Isa {
        // Called for each frame: no list is made.
        Kind::ALL.iter().rfind(|kind| kind.detected()).map_or(Isa::SCALAR, |&kind| Isa(kind))
    }

    /// The instruction set that the environment variable `MICRORAPTOR_ISA` names, or else the fastest.
    ///
    /// # Errors
    /// As [`Isa::named`].
    pub fn preferred() -> Result<Isa, IsaError> {
        match std::env::var(VARIABLE) {
            Ok(name) if !name.is_empty() => Isa::named(&name),
            _ => Ok(Isa::best()),
        }
    }

    /// The instruction set called `name`: `scalar`; `avx2`, `avxvnni` or `avx512vnni`; `neon`, `dotprod` or `i8mm`.
    ///
    /// # Errors
    /// [`IsaError`] if there is no instruction set of that name, or this CPU lacks it.
    ///
    /// ```
    /// use microraptor::Isa;
    /// assert_eq!(Isa::named("scalar"), Ok(Isa::SCALAR));
    /// assert!(Isa::named("mmx").is_err());
    /// ```
    pub fn named(name: &str) -> Result<Isa, IsaError> {
        let available = Isa::available();
        if let Some(&isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(isa);
        }
        let available = available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
        let name = name.to_owned();
        if NAMES.contains(&name.as_str()) {
            Err(IsaError::Lacking { name, available })
        } else {
            Err(IsaError::Unknown { name, available })
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Kind::Dotprod => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Kind::I8mm => "i8mm",
        }
    }

    /// Offset subtracted from the 8-bit activation codes: 128 where the products take signed bytes on both sides, as on
    /// ARM, otherwise 0. It is subtracted from the zero point too, so the difference of the two stays the same.
    pub fn code_offset(self) -> i32 {
        #[cfg(target_arch = "aarch64")]
        return if self == Isa::SCALAR { 0 } else { 128 };
        #[cfg(not(target_arch = "aarch64"))]
        0
    }

    /// Whether it has 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_avx512(self) -> bool {
        self.0 == Kind::Avx512Vnni
    }

    pub(super) fn kind(self) -> Kind {
        self.0
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Defines `fn name(isa, args)` whose body is compiled for the baseline and, on x86-64, also for AVX2 with FMA and for
/// AVX-512. (On 64-bit ARM the baseline has SIMD and fused multiply-adds.)
///
/// The body consists of IEEE operations in one order, with `f32::mul_add` only where a fused multiply-add is meant, so
/// all versions give the same bits: the compiler neither contracts nor reorders floating-point operations.
macro_rules! per_isa {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($gen:ident: $bound:path),*>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$($gen: $bound),*>)? (isa: $crate::kernels::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn portable $(<$($gen: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2 $(<$($gen: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? {
                    portable $(::<$($gen),*>)? ($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
                fn avx512 $(<$($gen: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? {
                    portable $(::<$($gen),*>)? ($($arg),*)
                }
                if isa.is_avx512() {
                    // SAFETY: such an `Isa` exists only if these features were detected.
                    return unsafe { avx512 $(::<$($gen),*>)? ($($arg),*) };
                }
                if isa != $crate::kernels::Isa::SCALAR {
                    // SAFETY: every x86-64 `Isa` except SCALAR exists only if AVX2, FMA and F16C were detected.
                    return unsafe { avx2 $(::<$($gen),*>)? ($($arg),*) };
                }
            }
            let _ = isa;
            portable $(::<$($gen),*>)? ($($arg),*)
        }
    };
}
pub(super) use per_isa;
