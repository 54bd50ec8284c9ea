//! Picture: clustered pictures from their parts, as pixels, as PNG and as YUV4MPEG2.
//!
//! Takes the payloads of picture records. Gives a picture once its last part is there.
//! Touches memory for a few pictures that are not whole yet; past that the oldest goes.
//! Never shows a picture that does not unpack to exactly its size.

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
        let (head, body) = wire::decode_head::<PictureHead>(version, payload).ok()?;
        let (frame, part) = (head.frame, head.part);
        let parts = self.open.entry(frame).or_insert_with(|| Parts { head: head.clone(), bodies: BTreeMap::new() });
        if (PictureHead { part, ..parts.head.clone() }) != head {
            // Another boot counts the same frames: the newer one it is.
            *parts = Parts { head, bodies: BTreeMap::new() };
        }
        parts.bodies.insert(part, body.to_vec());
        if parts.bodies.len() == usize::from(parts.head.parts) {
            return self.open.remove(&frame).and_then(|p| p.unpack());
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
    fn unpack(self) -> Option<Picture> {
        let head = self.head;
        let pixels = usize::from(head.width) * usize::from(head.height);
        let packed: Vec<u8> = self.bodies.into_values().flatten().collect();
        if pixels > PIXELS_MAX || packed.len() != head.packed_bytes as usize {
            return None;
        }
        let mut labels = vec![0; pixels];
        label_map::unpack(usize::from(head.width), &packed, &mut labels).ok()?;
        let mut palette = [[0; 3]; CLUSTERS_MAX + 1];
        palette.iter_mut().zip(&head.palette).for_each(|(to, from)| *to = *from);
        let rgb = labels.iter().flat_map(|&l| palette[usize::from(l)]).collect();
        Some(Picture { frame: head.frame, width: head.width, height: head.height, rgb })
    }
}

impl Picture {
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

/// Reads a PNG file as 8-bit RGB, or, with `grey`, as 8-bit grey. Gives width, height and the bytes.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn read_png(file: &std::path::Path, grey: bool) -> Result<(u32, u32, Vec<u8>), String> {
    let name = file.display();
    let input = std::fs::File::open(file).map_err(|e| format!("{name}: {e}"))?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(input));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| format!("{name}: {e}"))?;
    let size = reader
        .output_buffer_size()
        .filter(|&n| n <= PIXELS_MAX * 4)
        .ok_or(format!("{name}: the picture is too large"))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    bytes.truncate(info.buffer_size());
    let wanted = match (grey, info.color_type) {
        (true, png::ColorType::Grayscale) | (false, png::ColorType::Rgb) => bytes,
        (false, png::ColorType::Rgba) => bytes.as_chunks::<4>().0.iter().flat_map(|p| [p[0], p[1], p[2]]).collect(),
        (false, png::ColorType::Grayscale) => bytes.iter().flat_map(|&g| [g; 3]).collect(),
        (false, png::ColorType::GrayscaleAlpha) => bytes.as_chunks::<2>().0.iter().flat_map(|p| [p[0]; 3]).collect(),
        (true, other) => return Err(format!("{name}: labels must be an 8-bit grey PNG, this is {other:?}")),
        (false, other) => return Err(format!("{name}: colour type {other:?} cannot be read")),
    };
    Ok((info.width, info.height, wanted))
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
