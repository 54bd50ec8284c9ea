//! Container: checks of picture files that the decoders do not make.
//!
//! Each function reads the headers of one format and returns an error in words. A file that ends too early is refused, and so are
//! files that make a decoder panic or that it would decode inexactly. No pixel is decoded here.

/// First bytes of a PNG.
pub const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
/// 256 colours (PNG specification, 11.2.2).
const PALETTE_BYTES_MAX: usize = 768;

/// Walks a PNG's chunks to its end: it must be there, and the palette must consist of whole colours.
pub fn check_png(bytes: &[u8]) -> Result<(), String> {
    let truncated = || "the PNG is truncated: it ends before its last row".to_owned();
    let mut rest = bytes.strip_prefix(PNG_MAGIC).ok_or_else(truncated)?;
    loop {
        let (head, after) = rest.split_first_chunk::<8>().ok_or_else(truncated)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if &head[4..] == b"PLTE" && (length == 0 || !length.is_multiple_of(3) || length > PALETTE_BYTES_MAX) {
            return Err(format!("not a PNG that can be read: {length} bytes of palette are not 1 to 256 colours"));
        }
        // The chunk's checksum lies behind it.
        rest = length.checked_add(4).and_then(|n| after.get(n..)).ok_or_else(truncated)?;
        if &head[4..] == b"IEND" {
            return Ok(());
        }
    }
}

/// Checks the length in a WebP's header.
pub fn check_webp(bytes: &[u8]) -> Result<(), String> {
    let truncated = || "the WebP is truncated: it has fewer bytes than its header states".to_owned();
    let length = bytes.get(4..8).and_then(|b| <[u8; 4]>::try_from(b).ok()).ok_or_else(truncated)?;
    if (bytes.len() as u64) < 8 + u64::from(u32::from_le_bytes(length)) { Err(truncated()) } else { Ok(()) }
}

/// A TIFF's first page must be a picture of its own, and not a JPEG.
pub fn check_tiff(bytes: &[u8]) -> Result<(), String> {
    /// Bit 0: a smaller version of another page. Raw files of cameras begin with one.
    const NEW_SUBFILE_TYPE: u32 = 254;
    const COMPRESSION: u32 = 259;
    let truncated = || "the TIFF is truncated: its first page has no directory".to_owned();
    let is_little = bytes.first() == Some(&b'I');
    let number = |at: usize, length: usize| -> Option<u32> {
        let field = bytes.get(at..at.checked_add(length)?)?;
        let add = |n: u32, b: &u8| n << 8 | u32::from(*b);
        Some(if is_little { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) })
    };
    let page = number(4, 4).ok_or_else(truncated)? as usize;
    let entries = number(page, 2).ok_or_else(truncated)? as usize;
    for i in 0..entries {
        let at = page.saturating_add(2 + 12 * i);
        let tag = number(at, 2).ok_or_else(truncated)?;
        // A value of type 3 has two bytes, one of type 4 has four.
        let length = if number(at.saturating_add(2), 2) == Some(3) { 2 } else { 4 };
        let value = number(at.saturating_add(8), length).ok_or_else(truncated)?;
        match (tag, value) {
            (NEW_SUBFILE_TYPE, value) if value & 1 == 1 => {
                return Err("its first page is only a preview; develop raw files of cameras first".into());
            }
            (COMPRESSION, 6 | 7) => return Err("TIFFs with a JPEG inside are not read; save it without".into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_has_whole_colours_and_a_png_has_an_end() {
        let png = |palette: usize| {
            let chunk = |kind: &[u8], data: &[u8]| [&(data.len() as u32).to_be_bytes(), kind, data, &[0; 4]].concat();
            [PNG_MAGIC, &chunk(b"IHDR", &[0; 13]), &chunk(b"PLTE", &vec![9; palette]), &chunk(b"IEND", &[])].concat()
        };
        for good in [3, 768] {
            assert_eq!(check_png(&png(good)), Ok(()));
        }
        for bad in [0, 1, 4, 769, 771] {
            assert!(check_png(&png(bad)).unwrap_err().contains(&format!("{bad} bytes of palette")));
        }
        let whole = png(3);
        for cut in 0..whole.len() {
            assert!(check_png(&whole[..cut]).unwrap_err().contains("truncated"), "cut at {cut}");
        }
    }

    #[test]
    fn a_preview_and_a_jpeg_are_no_pages() {
        let little = |tag: u8, tag_high: u8, value: u8| {
            let entry = [tag, tag_high, 3, 0, 1, 0, 0, 0, value, 0, 0, 0];
            [&b"II*\0\x08\0\0\0"[..], &[1, 0], &entry].concat()
        };
        assert_eq!(check_tiff(&little(3, 1, 1)), Ok(()));
        assert!(check_tiff(&little(3, 1, 7)).unwrap_err().contains("JPEG"));
        assert!(check_tiff(&little(254, 0, 1)).unwrap_err().contains("preview"));
        let big = [&b"MM\0*\0\0\0\x08"[..], &[0, 1], &[1, 3, 0, 3, 0, 0, 0, 1, 0, 7, 0, 0]].concat();
        assert!(check_tiff(&big).unwrap_err().contains("JPEG"));
        for cut in 4..big.len() - 2 {
            assert!(check_tiff(&big[..cut]).unwrap_err().contains("truncated"), "cut at {cut}");
        }
        assert!(check_tiff(b"II*\0\xff\xff\xff\xff").is_err());
    }
}
