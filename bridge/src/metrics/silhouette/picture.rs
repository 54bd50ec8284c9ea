//! Picture: clustered pictures from their parts, as pixels, as PNG and as YUV4MPEG2; and PNG files read back.
//!
//! A [`Joiner`] takes the payloads of picture records and gives a picture once its last part is there. It keeps a few
//! pictures that are not whole yet; beyond that the oldest goes. A picture that does not unpack to exactly its size is never
//! shown. [`read_png`] reads what the edge reads, with the same pixels.

use firmware::limits::{CLUSTERS_MAX, PIXELS_MAX};
use firmware::wire::label_map;
use firmware::wire::{self, PictureHead};
use std::collections::BTreeMap;

/// Pictures of a device that may be incomplete at a time.
const OPEN_MAX: usize = 16;

/// A clustered picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The frame.
    pub frame: u64,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

/// Joins the parts of one device's pictures.
#[derive(Debug, Default)]
pub struct Joiner {
    open: BTreeMap<u64, Parts>,
}

#[derive(Debug)]
struct Parts {
    head: PictureHead,
    bodies: BTreeMap<u16, Vec<u8>>,
}

impl Joiner {
    /// Takes a part; gives the picture if it was the last one missing. What cannot be read gives nothing.
    pub fn add(&mut self, version: u8, payload: &[u8]) -> Option<Picture> {
        self.add_packed(version, payload)?.unpack()
    }

    /// As [`Joiner::add`], but leaves the picture packed.
    pub fn add_packed(&mut self, version: u8, payload: &[u8]) -> Option<Packed> {
        let (head, body) = wire::decode_head::<PictureHead>(version, payload).ok()?;
        let (frame, part) = (head.frame, head.part);
        let parts = self.open.entry(frame).or_insert_with(|| Parts { head: head.clone(), bodies: BTreeMap::new() });
        if (PictureHead { part, ..parts.head.clone() }) != head {
            // Another boot counts the same frames: the newer one it is.
            *parts = Parts { head, bodies: BTreeMap::new() };
        }
        parts.bodies.insert(part, body.to_vec());
        if parts.bodies.len() == usize::from(parts.head.parts) {
            return self.open.remove(&frame).map(Parts::pack);
        }
        if self.open.len() > OPEN_MAX {
            let oldest = if self.open.last_key_value().is_some_and(|(&f, _)| f == frame) {
                self.open.pop_first()
            } else {
                self.open.pop_last()
            };
            drop(oldest);
        }
        None
    }
}

impl Parts {
    fn pack(self) -> Packed {
        Packed { head: self.head, packed: self.bodies.into_values().flatten().collect() }
    }
}

/// A clustered picture as the edge packed it: a small part of its pixels' bytes.
#[derive(Debug, Clone)]
pub struct Packed {
    head: PictureHead,
    packed: Vec<u8>,
}

impl Packed {
    /// The frame.
    pub fn frame(&self) -> u64 {
        self.head.frame
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.packed.len() + size_of::<Packed>()
    }

    /// Its pixels; none if it does not unpack to exactly its size.
    pub fn unpack(&self) -> Option<Picture> {
        let head = &self.head;
        let pixels = usize::from(head.width) * usize::from(head.height);
        if pixels > PIXELS_MAX || self.packed.len() != head.packed_bytes as usize {
            return None;
        }
        let mut labels = vec![0; pixels];
        label_map::unpack(usize::from(head.width), &self.packed, &mut labels).ok()?;
        let mut palette = [[0; 3]; CLUSTERS_MAX + 1];
        palette.iter_mut().zip(&head.palette).for_each(|(to, from)| *to = *from);
        let rgb = labels.iter().flat_map(|&l| palette[usize::from(l)]).collect();
        Some(Picture { frame: head.frame, width: head.width, height: head.height, rgb })
    }
}

impl Picture {
    /// The picture with every n-th pixel of every n-th row, so that no side is longer than `side_px_max`.
    pub fn thumbnail(&self, side_px_max: u16) -> Picture {
        let step = usize::from(self.width.max(self.height).div_ceil(side_px_max.max(1)).max(1));
        let (width, height) = (usize::from(self.width).div_ceil(step), usize::from(self.height).div_ceil(step));
        let rows = self.rgb.chunks_exact(usize::from(self.width).max(1) * 3).step_by(step);
        let rgb = rows.flat_map(|row| row.chunks_exact(3).step_by(step).flatten().copied()).collect();
        Picture { frame: self.frame, width: width as u16, height: height as u16, rgb }
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// The encoder's.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, u32::from(self.width), u32::from(self.height));
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(out)
    }

    /// The picture as one frame of YUV4MPEG2 (4:4:4, ITU-R BT.601, studio range), without the stream's header.
    pub fn y4m(&self) -> Vec<u8> {
        let pixels = self.rgb.as_chunks::<3>().0;
        let plane = |base: i32, k: [i32; 3]| {
            pixels.iter().map(move |p| {
                let sum: i32 = p.iter().zip(k).map(|(&c, k)| i32::from(c) * k).sum();
                (base + ((sum + 32_768) >> 16)).clamp(0, 255) as u8
            })
        };
        let planes =
            [(16, [16_829, 33_039, 6_416]), (128, [-9_714, -19_070, 28_784]), (128, [28_784, -24_103, -4_681])];
        b"FRAME\n".iter().copied().chain(planes.into_iter().flat_map(|(b, k)| plane(b, k))).collect()
    }
}

/// Colours of the largest palette (PNG specification, 11.2.2).
const PALETTE_COLOURS_MAX: usize = 256;
/// The colour behind transparent pixels, the edge's.
const BACKGROUND: u32 = 255;

/// Reads a PNG file as 8-bit RGB, as the edge does: 16-bit samples are rounded, transparent pixels composed on white. With
/// `labels` set, as 8-bit grey, and every other kind is refused. Gives width, height and the bytes.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn read_png(file: &std::path::Path, labels: bool) -> Result<(u32, u32, Vec<u8>), String> {
    use png::{BitDepth, ColorType};
    let refuse = |why: String| format!("{}: {why}", file.display());
    let wrong = |e: png::DecodingError| refuse(format!("not a PNG that can be read: {e}"));
    let input = std::fs::File::open(file).map_err(|e| refuse(e.to_string()))?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(input));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(wrong)?;
    let info = reader.info();
    // The decoder takes any length for granted, and would panic.
    if let Some(palette) = &info.palette
        && (palette.is_empty() || palette.len() % 3 != 0 || palette.len() > 3 * PALETTE_COLOURS_MAX)
    {
        return Err(refuse(format!(
            "not a PNG that can be read: {} bytes of palette are not 1 to 256 colours",
            palette.len()
        )));
    }
    let kind = (info.color_type, info.bit_depth);
    if labels && (kind != (ColorType::Grayscale, BitDepth::Eight) || info.trns.is_some()) {
        let why =
            format!("labels must be an 8-bit grey PNG without transparency, this is {:?} of {:?} bits", kind.0, kind.1);
        return Err(refuse(why));
    }
    let pixels = u64::from(info.width) * u64::from(info.height);
    if pixels > PIXELS_MAX as u64 {
        let (width, height) = (info.width, info.height);
        return Err(refuse(format!(
            "the picture has {width}x{height} pixels; at most {PIXELS_MAX} in all can be read"
        )));
    }
    let size = reader.output_buffer_size().ok_or_else(|| refuse("the picture is too large".into()))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(wrong)?;
    reader.finish().map_err(wrong)?;
    bytes.truncate(info.buffer_size());
    if info.bit_depth == BitDepth::Sixteen {
        let round = |s: &[u8; 2]| ((u32::from(u16::from_be_bytes(*s)) + 128) / 257) as u8;
        bytes = bytes.as_chunks::<2>().0.iter().map(round).collect();
    }
    if labels {
        return Ok((info.width, info.height, bytes));
    }
    let over = |c: u8, opacity: u8| {
        ((u32::from(c) * u32::from(opacity) + BACKGROUND * u32::from(255 - opacity) + 127) / 255) as u8
    };
    let rgb = match info.color_type {
        ColorType::Rgb => bytes,
        ColorType::Rgba => {
            bytes.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, a]| [over(r, a), over(g, a), over(b, a)]).collect()
        }
        ColorType::Grayscale => bytes.iter().flat_map(|&g| [g; 3]).collect(),
        ColorType::GrayscaleAlpha => bytes.as_chunks::<2>().0.iter().flat_map(|&[g, a]| [over(g, a); 3]).collect(),
        other => return Err(refuse(format!("colour type {other:?} cannot be read"))),
    };
    Ok((info.width, info.height, rgb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(frame: u64, labels: &[u8], width: u16, cut: usize) -> Vec<Vec<u8>> {
        let mut packed = vec![0; labels.len() * 2 + 64];
        let n = label_map::pack(usize::from(width), labels, &mut packed).unwrap();
        let chunks: Vec<&[u8]> = packed[..n].chunks(cut).collect();
        let palette = heapless::Vec::from_slice(&[[1, 2, 3], [4, 5, 6]]).unwrap();
        let height = (labels.len() / usize::from(width)) as u16;
        (0..)
            .zip(&chunks)
            .map(|(part, body)| {
                let head = PictureHead {
                    frame,
                    part,
                    parts: chunks.len() as u16,
                    width,
                    height,
                    packed_bytes: n as u32,
                    palette: palette.clone(),
                };
                let mut buf = vec![0; 4096];
                let m = wire::encode(&head, &mut buf).unwrap();
                buf.truncate(m);
                buf.extend_from_slice(body);
                buf
            })
            .collect()
    }

    #[test]
    fn a_picture_is_there_with_its_last_part_in_any_order() {
        let labels: Vec<u8> = (0..64).map(|i| u8::from(i % 7 > 3)).collect();
        let parts = payloads(5, &labels, 8, 4);
        assert!(parts.len() > 2);
        let mut j = Joiner::default();
        for p in parts.iter().skip(1).rev() {
            assert_eq!(j.add(1, p), None);
        }
        assert_eq!(j.add(1, &parts[1]), None, "a repeat");
        let picture = j.add(1, &parts[0]).unwrap();
        assert_eq!((picture.frame, picture.width, picture.height), (5, 8, 8));
        assert_eq!(&picture.rgb[..3], if labels[0] == 1 { &[4, 5, 6] } else { &[1, 2, 3] });
        assert!(picture.png().unwrap().starts_with(b"\x89PNG"));
        assert_eq!(picture.y4m().len(), 6 + 3 * 64);
        assert_eq!(j.add(1, b"nonsense"), None);
        let mut wrong = parts[0].clone();
        wrong.push(0);
        parts[1..].iter().for_each(|p| assert_eq!(j.add(1, p), None));
        assert_eq!(j.add(1, &wrong), None, "one byte too many");
    }

    #[test]
    fn pngs_are_read_as_the_edge_reads_them_and_labels_only_as_8_bit_grey() {
        use png::{BitDepth, ColorType};
        let dir = tempfile::tempdir().unwrap();
        let read = |kind, depth, palette: Option<(&[u8], &[u8])>, bytes: &[u8], labels| {
            let path = dir.path().join("x.png");
            let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 2, 1);
            encoder.set_color(kind);
            encoder.set_depth(depth);
            if let Some((colours, opacity)) = palette {
                encoder.set_palette(colours.to_vec());
                encoder.set_trns(opacity.to_vec());
            }
            encoder.write_header().unwrap().write_image_data(bytes).unwrap();
            read_png(&path, labels).map(|(width, height, bytes)| {
                assert_eq!((width, height), (2, 1));
                bytes
            })
        };
        let (eight, sixteen, grey) = (BitDepth::Eight, BitDepth::Sixteen, ColorType::Grayscale);
        let rgba = read(ColorType::Rgba, eight, None, &[0, 100, 200, 128, 1, 2, 3, 0], false);
        assert_eq!(rgba.unwrap(), [127, 177, 227, 255, 255, 255]);
        assert_eq!(read(grey, sixteen, None, &[1, 255, 0x12, 0x34], false).unwrap(), [2, 2, 2, 18, 18, 18]);
        let palette: (&[u8], &[u8]) = (&[1, 2, 3, 4, 5, 6], &[255, 0]);
        assert_eq!(read(ColorType::Indexed, eight, Some(palette), &[1, 0], false).unwrap(), [255, 255, 255, 1, 2, 3]);
        assert_eq!(read(grey, eight, None, &[7, 0], true).unwrap(), [7, 0]);
        for (kind, depth, bytes) in [
            (grey, sixteen, &[0, 1, 0, 2][..]),
            (grey, BitDepth::One, &[0x40]),
            (ColorType::Rgb, eight, &[0; 6]),
            (ColorType::GrayscaleAlpha, eight, &[0; 4]),
        ] {
            assert!(read(kind, depth, None, bytes, true).unwrap_err().contains("8-bit grey"), "{kind:?} {depth:?}");
        }
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        let why = read_png(&data.join("palette-of-4-bytes.png"), false).unwrap_err();
        assert!(why.contains("palette-of-4-bytes.png") && why.contains("4 bytes of palette"), "{why}");
        let whole = std::fs::read(data.join("dot.png")).unwrap();
        for cut in (0..whole.len()).step_by(7) {
            let path = dir.path().join("cut.png");
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read_png(&path, false).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn pictures_that_never_become_whole_are_forgotten() {
        let mut j = Joiner::default();
        for f in 0..100 {
            let parts = payloads(f, &[0; 64], 8, 3);
            j.add(1, &parts[0]);
        }
        assert!(j.open.len() <= OPEN_MAX);
        assert!(j.open.contains_key(&99));
    }
}
