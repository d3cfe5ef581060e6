use super::*;

/// The header of a codestream of 8 x 16 px, without tiles.
fn header() -> Vec<u8> {
    let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for number in [8u32, 16, 0, 0, 8, 16, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0, 1, 7, 1, 1]);
    // COD: LRCP, one layer, no colour transform, no decomposition, code-blocks of 64 x 64, 5/3 wavelet.
    bytes.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 0, 4, 4, 0, 1]);
    bytes
}

/// A tile-part with `data`.
fn part(index: u16, number: u8, count: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0x90, 0, 10];
    bytes.extend(index.to_be_bytes());
    bytes.extend((14 + data.len() as u32).to_be_bytes());
    bytes.extend([number, count, 0xFF, 0x93]);
    bytes.extend(data);
    bytes
}

const END: [u8; 2] = [0xFF, 0xD9];

fn outcome(bytes: &[u8]) -> Result<(), String> {
    let stream = Stream::of(codestream(bytes)?)?;
    check(&Layout::grey(), &stream)?;
    packets::check(&stream)
}

use super::stream::codestream;

#[test]
fn every_tile_must_be_there_and_filled_by_its_packets() {
    // An empty packet is one byte.
    let whole = [header(), part(0, 0, 1, &[0]), END.to_vec()].concat();
    assert_eq!(outcome(&whole), Ok(()));
    assert_eq!(outcome(&[whole.as_slice(), &[0]].concat()), Ok(()));
    for cut in 0..whole.len() {
        assert!(outcome(&whole[..cut]).is_err(), "{cut}");
    }
    let message =
        |parts: &[Vec<u8>]| outcome(&[header(), parts.concat(), END.to_vec()].concat()).unwrap_err();
    assert!(message(&[]).contains("the marker FFD9 in its header"));
    assert!(message(&[part(0, 0, 2, &[0])]).contains("lacks parts of a tile"));
    assert!(message(&[part(0, 1, 1, &[0])]).contains("out of order"));
    assert!(message(&[part(1, 0, 1, &[0])]).contains("outside of the picture"));
    assert!(message(&[part(0, 0, 1, &[])]).contains("packet that is damaged"));
    assert!(message(&[part(0, 0, 1, &[0, 0])]).contains("1 bytes in a tile that are in no packet"));
    // One pass for the block. With Lblock 3, a three-bit length gives 5, but only two bytes follow.
    let body = part(0, 0, 1, &[0b1111_0010, 0b1000_0000, 1, 2]);
    assert!(message(&[body]).contains("packet that is damaged"));
    let twice = [header(), part(0, 0, 1, &[0]), END.to_vec(), vec![1, 2]].concat();
    assert!(outcome(&twice).unwrap_err().contains("goes on after its end"));
}

#[test]
fn the_size_must_be_that_of_the_dicom_header() {
    let whole = [header(), part(0, 0, 1, &[0]), END.to_vec()].concat();
    let stream = Stream::of(&whole).unwrap();
    assert!(check(&Layout { columns: 9, ..Layout::grey() }, &stream).unwrap_err().contains("9x16 px"));
    assert!(
        check(&Layout { photometric: Photometric::YbrJ2k, ..Layout::grey() }, &stream)
            .unwrap_err()
            .contains("its stream does not")
    );
    let mut other = whole.clone();
    other[44] = 2;
    assert!(outcome(&other).unwrap_err().contains("different sizes"));
    // A header that is not at the beginning is not the stream's header.
    assert!(outcome(&[b"\0\0", whole.as_slice()].concat()).unwrap_err().contains("neither a codestream"));
}

#[test]
fn tiles_and_blocks_are_bounded() {
    let mut tiles = header();
    tiles[24..32].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let one = [tiles, part(0, 0, 1, &[0]), END.to_vec()].concat();
    assert!(Stream::of(&one).err().unwrap().contains("lacks 127 of its 128 tiles, the first is 1"));
    let mut many = header();
    many[8..16].copy_from_slice(&[0, 0, 32, 0, 0, 0, 32, 0]);
    many[24..32].copy_from_slice(&[0, 0, 0, 64, 0, 0, 0, 64]);
    assert!(Stream::of(&many).err().unwrap().contains("128x128 tiles, which are refused"));
    // Precincts of one sample.
    let mut precincts = header();
    precincts[8..16].copy_from_slice(&[0, 0, 4, 0, 0, 0, 4, 0]);
    precincts[24..32].copy_from_slice(&[0, 0, 4, 0, 0, 0, 4, 0]);
    let cod = precincts.len() - 14;
    precincts.splice(cod + 2.., [0, 13, 1, 0, 0, 1, 0, 0, 4, 4, 0, 1, 0]);
    let whole = [precincts, part(0, 0, 1, &[0; 64]), END.to_vec()].concat();
    let stream = Stream::of(&whole).unwrap();
    assert!(packets::check(&stream).unwrap_err().contains("code-blocks or precincts"));
}
