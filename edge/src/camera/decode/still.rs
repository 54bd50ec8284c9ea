//! Still: PNG, GIF, BMP, WebP and TIFF, with every frame of an animation. The one door to `image`.
//!
//! A file's bytes become RGB pictures without loss, except that 16-bit samples are rounded to 8 bits. Transparent pixels
//! are composed on a background, and the picture is turned according to its Exif data. Colour profiles are not applied. Files
//! that end too early, and kinds that the decoders would read inexactly, are refused.

use super::container;
use super::input::Input;
use super::rgb::{Rgb, check_px, malformed};
use crate::camera::{Picture, Source, SourceError};
use firmware::limits::PIXELS_MAX;
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageResult, Limits, RgbImage};
use std::io::Cursor;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Most bytes of a picture's file: a whole frame of 16-bit samples with opacity, and half as much again.
pub const FILE_BYTES_MAX: usize = PIXELS_MAX * 12;
/// Most bytes that a decoder may take for one picture: samples of 16 bits with opacity, twice.
const DECODER_BYTES_MAX: u64 = 2 * 8 * PIXELS_MAX as u64;
/// Frames of an animation that are decoded in advance; each is as large as the picture.
const FRAMES_AHEAD: usize = 1;
/// Milliseconds of a frame without a duration, as in browsers.
const FRAME_MS: u32 = 100;

/// A format of still pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Portable Network Graphics, animated ones too.
    Png,
    /// Graphics Interchange Format, animated ones too.
    Gif,
    /// Windows Bitmap.
    Bmp,
    /// WebP, animated ones too.
    WebP,
    /// Tagged Image File Format; the first page.
    Tiff,
}

impl Kind {
    /// The format of a file that begins like this; at least 26 bytes decide if the file has them.
    pub fn of(head: &[u8]) -> Option<Kind> {
        let is = |magic: &[u8]| head.starts_with(magic);
        // The size of the bitmap's header shows that "BM" is not there by chance.
        let bitmap = || matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]));
        if is(container::PNG_MAGIC) || (!head.is_empty() && container::PNG_MAGIC.starts_with(head)) {
            Some(Kind::Png)
        } else if is(b"GIF87a") || is(b"GIF89a") {
            Some(Kind::Gif)
        } else if is(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            Some(Kind::WebP)
        } else if is(b"II*\0") || is(b"MM\0*") {
            Some(Kind::Tiff)
        } else if is(b"BM") && bitmap() {
            Some(Kind::Bmp)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Png => "PNG",
            Kind::Gif => "GIF",
            Kind::Bmp => "BMP",
            Kind::WebP => "WebP",
            Kind::Tiff => "TIFF",
        }
    }
}

/// A picture, or an animation's pictures one after the other.
pub struct Still {
    what: String,
    kind: Kind,
    bytes: Arc<[u8]>,
    /// The rate that was asked for.
    asked: Option<f64>,
    rate: Option<f64>,
    frames: Receiver<Message>,
    /// Decoded when it was opened: its duration gives the rate.
    first: Option<Rgb>,
    current: Rgb,
    given: u64,
    is_over: bool,
}

/// One picture and the milliseconds that it is shown; none of a picture that stands alone.
struct Step {
    rgb: Rgb,
    shown_ms: Option<u32>,
}

impl Still {
    /// Reads the whole file and decodes its first picture. `asked` is the rate at which the pictures are played; without it
    /// an animation has the rate of its first picture, and a single picture has none.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn open(input: Input, kind: Kind, asked: Option<f64>) -> Result<Still, SourceError> {
        let what = input.what().to_owned();
        Still::new(what, kind, input.read_all(FILE_BYTES_MAX)?.into(), asked)
    }

    /// The same for bytes in memory, whose name in errors is `what`.
    ///
    /// # Errors
    /// [`SourceError::Malformed`].
    pub fn new(what: String, kind: Kind, bytes: Arc<[u8]>, asked: Option<f64>) -> Result<Still, SourceError> {
        let frames = start(kind, &bytes);
        let first = frames.recv().unwrap_or_else(|_| Err(NO_ANSWER.into())).map_err(|why| malformed(&what, why))?;
        let first = first.ok_or_else(|| malformed(&what, "there is no picture in it"))?;
        let own = first.shown_ms.map(|ms| 1000.0 / f64::from(if ms == 0 { FRAME_MS } else { ms }));
        let rate = asked.or(own);
        let (first, current) = (Some(first.rgb), Rgb::default());
        Ok(Still { what, kind, bytes, asked, rate, frames, first, current, given: 0, is_over: false })
    }
}

impl Source for Still {
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.current = match self.first.take() {
            Some(first) => first,
            None if self.is_over => return Ok(false),
            None => match self.frames.recv().unwrap_or_else(|_| Err(NO_ANSWER.into())) {
                Ok(Some(step)) => step.rgb,
                Ok(None) => {
                    self.is_over = true;
                    return Ok(false);
                }
                Err(why) => return Err(malformed(&self.what, format!("frame {}: {why}", self.given))),
            },
        };
        self.given += 1;
        Ok(true)
    }

    fn picture(&self) -> Option<Picture<'_>> {
        self.current.picture()
    }

    fn rate(&self) -> Option<f64> {
        self.rate
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.given == 1 && self.is_over {
            // A single picture does not change.
            (self.first, self.given) = (Some(std::mem::take(&mut self.current)), 0);
            return Ok(());
        }
        *self = Still::new(std::mem::take(&mut self.what), self.kind, self.bytes.clone(), self.asked)?;
        Ok(())
    }
}

/// A picture, the end of them, or why there is no other.
type Message = Result<Option<Step>, String>;

/// The error of a decoder that panicked.
const NO_ANSWER: &str = "the decoder failed; please report this file";

/// Decodes on a thread of its own, which ends when the receiver is dropped: decoders borrow what they read, and an
/// animation may be longer than memory is large.
fn start(kind: Kind, bytes: &Arc<[u8]>) -> Receiver<Message> {
    let (sender, receiver) = sync_channel(FRAMES_AHEAD);
    let bytes = bytes.clone();
    std::thread::spawn(move || {
        let mut is_wanted = |step: Step| sender.send(Ok(Some(step))).is_ok();
        // A closed channel means that the rest is not needed.
        let _ = sender.send(decode(kind, &bytes, &mut is_wanted).map(|()| None));
    });
    receiver
}

/// Decodes every picture, until `take` returns false.
fn decode(kind: Kind, bytes: &[u8], take: &mut dyn FnMut(Step) -> bool) -> Result<(), String> {
    let refuse = |e: image::ImageError| refusal(kind, &e);
    let reader = Cursor::new(bytes);
    match kind {
        Kind::Png => {
            container::check_png(bytes)?;
            let decoder = PngDecoder::with_limits(reader, limits()).map_err(refuse)?;
            check_size(&decoder)?;
            if decoder.is_apng().map_err(refuse)? {
                return animation(kind, decoder.apng().map_err(refuse)?, take);
            }
            picture(decoder).map_err(refuse).map(|rgb| one(rgb, take))
        }
        Kind::Gif => {
            let mut decoder = GifDecoder::new(reader).map_err(refuse)?;
            check_size(&decoder)?;
            decoder.set_limits(limits()).map_err(refuse)?;
            animation(kind, decoder, take)
        }
        Kind::WebP => {
            container::check_webp(bytes)?;
            let mut decoder = WebPDecoder::new(reader).map_err(refuse)?;
            check_size(&decoder)?;
            decoder.set_limits(limits()).map_err(refuse)?;
            if decoder.has_animation() {
                return animation(kind, decoder, take);
            }
            picture(decoder).map_err(refuse).map(|rgb| one(rgb, take))
        }
        Kind::Bmp => {
            let decoder = BmpDecoder::new(reader).map_err(refuse)?;
            check_size(&decoder)?;
            picture(decoder).map_err(refuse).map(|rgb| one(rgb, take))
        }
        Kind::Tiff => {
            container::check_tiff(bytes)?;
            let mut decoder = TiffDecoder::new(reader).map_err(refuse)?;
            check_size(&decoder)?;
            decoder.set_limits(limits()).map_err(refuse)?;
            if matches!(decoder.color_type(), image::ColorType::Rgb32F | image::ColorType::Rgba32F) {
                return Err(
                    "TIFFs with floating-point samples are not read, because they do not define the brightness of 1.0"
                        .into(),
                );
            }
            picture(decoder).map_err(refuse).map(|rgb| one(rgb, take))
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    limits
}

fn check_size(decoder: &impl ImageDecoder) -> Result<(), String> {
    let (width, height) = decoder.dimensions();
    check_px(width as usize, height as usize)
}

fn refusal(kind: Kind, error: &image::ImageError) -> String {
    let name = kind.name();
    match error {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("the {name} is truncated: it ends before its last row")
        }
        image::ImageError::Unsupported(e) => format!("a {name} of a kind that is not read: {e}"),
        e => format!("not a {name} that can be read: {e}"),
    }
}

fn one(rgb: Rgb, take: &mut dyn FnMut(Step) -> bool) {
    take(Step { rgb, shown_ms: None });
}

/// A decoder's picture, turned and without transparency.
fn picture(mut decoder: impl ImageDecoder) -> ImageResult<Rgb> {
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(opaque(image))
}

fn opaque(image: DynamicImage) -> Rgb {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if image.color().has_alpha() {
        let mut rgb = Rgb::default();
        rgb.compose(width, height, &image.into_rgba8());
        return rgb;
    }
    Rgb { width, height, data: image.into_rgb8().into_raw() }
}

fn animation<'a>(
    kind: Kind,
    decoder: impl AnimationDecoder<'a>,
    take: &mut dyn FnMut(Step) -> bool,
) -> Result<(), String> {
    for frame in decoder.into_frames() {
        let frame = frame.map_err(|e| refusal(kind, &e))?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let mut rgb = Rgb::default();
        let image = frame.into_buffer();
        rgb.compose(image.width() as usize, image.height() as usize, &image);
        if !take(Step { rgb, shown_ms: Some(numerator / denominator.max(1)) }) {
            return Ok(());
        }
    }
    Ok(())
}

/// Turns a picture according to its Exif data; without an orientation it stays as it is.
pub fn turn(rgb: &mut Rgb, exif: Option<&[u8]>) {
    let Some(orientation) = exif.and_then(Orientation::from_exif_chunk) else { return };
    if orientation == Orientation::NoTransforms {
        return;
    }
    let (width, height) = (rgb.width as u32, rgb.height as u32);
    let Some(image) = RgbImage::from_raw(width, height, std::mem::take(&mut rgb.data)) else { return };
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    *rgb = opaque(image);
}
