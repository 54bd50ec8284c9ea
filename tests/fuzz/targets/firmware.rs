//! The core's targets: bytes from the network, and frames of any description.
//!
//! The inputs are bytes that anyone may have made. Besides "no panic", what decodes must come back from its own encoding,
//! and a step's report must be true.

use super::feed::Feed;
use firmware::coreset::{Features, Merge, Point};
use firmware::custody::{Ack, Envelope, JournalId, Kind, Receiver, Sender, SenderConfig, StreamAck, Window};
use firmware::custody::{StreamWindow, WindowId};
use firmware::frame::{Frame, Layout, Stamp, Yuv};
use firmware::limits::{CONTROL_BYTES_MAX, ENVELOPE_BYTES, PAYLOAD_BYTES_MAX, REPORT_BYTES_MAX, SEQ_MAX};
use firmware::node::{Capacity, HistogramBits, Node, Settings, Workspace};
use firmware::wire::census::{self, Census};
use firmware::wire::label_map::{self, LabelMapError};
use firmware::wire::{
    self, CensusHead, HEAD_BYTES_MAX, Loss, Method, OriginalHead, Payload, PictureHead, Refine, Report, Space,
};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use std::fmt::Debug;

/// Most pixels of a frame that is stepped.
const PIXELS_MAX: usize = 600;

/// Every payload and control message: [which, version, bytes...].
pub fn wire(data: &[u8]) {
    let mut feed = Feed(data);
    let (which, version) = (feed.below(7), feed.byte());
    match which {
        0 => head::<Report>(version, feed.0, REPORT_BYTES_MAX),
        1 => {
            head::<CensusHead>(version, feed.0, HEAD_BYTES_MAX);
            colours(version, feed.0);
        }
        2 => head::<PictureHead>(version, feed.0, HEAD_BYTES_MAX),
        3 => head::<Loss>(version, feed.0, 32),
        4 => head::<OriginalHead>(version, feed.0, 32),
        5 => {
            if let Ok(window) = wire::decode_window(feed.0) {
                let mut buf = vec![0; CONTROL_BYTES_MAX];
                let n = wire::encode_window(&window, &mut buf).unwrap();
                assert_eq!(wire::decode_window(&buf[..n]), Ok(window));
            }
        }
        _ => {
            if let Ok(ack) = wire::decode_ack(feed.0) {
                let mut buf = vec![0; CONTROL_BYTES_MAX];
                let n = wire::encode_ack(&ack, &mut buf).unwrap();
                assert_eq!(wire::decode_ack(&buf[..n]), Ok(ack));
            }
        }
    }
}

fn head<T: Payload + PartialEq + Debug>(version: u8, bytes: &[u8], room: usize) {
    if let Ok((value, rest)) = wire::decode_head::<T>(version, bytes) {
        assert!(bytes.ends_with(rest) && value.consistent());
        assert_eq!(wire::decode::<T>(version, bytes).is_ok(), rest.is_empty());
        let mut buf = vec![0; room];
        let n = wire::encode(&value, &mut buf).unwrap();
        assert_eq!(wire::decode::<T>(value.version(), &buf[..n]), Ok(value));
    }
}

fn colours(version: u8, bytes: &[u8]) {
    let Ok((head, colours)) = census::read_part(version, bytes) else { return };
    let (mut last, mut read, mut wrong) = (None, 0u32, 0u32);
    for c in colours {
        match c {
            Ok((colour, count)) => {
                assert!(wrong == 0 && colour <= 0xFF_FFFF && count > 0 && last.is_none_or(|l| l < colour));
                (last, read) = (Some(colour), read + 1);
            }
            Err(_) => wrong += 1,
        }
    }
    assert!(wrong <= 1 && read <= head.in_part && (wrong == 1 || read == head.in_part));
}

/// Envelopes, one behind the other.
pub fn envelope(data: &[u8]) {
    let mut rest = data;
    while let Ok((envelope, payload, behind)) = Envelope::open_first(rest) {
        let (peeked, len) = Envelope::peek(rest).unwrap();
        assert_eq!((peeked, len), (envelope, ENVELOPE_BYTES + payload.len()));
        assert_eq!(Envelope::open(&rest[..len]), Ok((envelope, payload)));
        let sealed = [&envelope.seal(payload)[..], payload].concat();
        assert_eq!(Envelope::open(&sealed), Ok((envelope, payload)));
        assert_eq!(envelope.kind().map(|k| k as u8), Kind::from_byte(envelope.kind).map(|k| k as u8));
        rest = behind;
    }
    if let Ok((envelope, len)) = Envelope::peek(rest) {
        // What is not whole, made whole.
        let payload = rest.get(ENVELOPE_BYTES..len.min(rest.len())).unwrap_or(&[]);
        let sealed = [&envelope.seal(payload)[..], payload].concat();
        assert_eq!(Envelope::open(&sealed), Ok((envelope, payload)));
    }
    let _ = Envelope::open(data);
}

/// Label maps: [width, width, pixels, pixels, bytes...], as the packed map and as the map.
pub fn label_map(data: &[u8]) {
    let mut feed = Feed(data);
    let (width, pixels) = (usize::from(feed.short()), usize::from(feed.short() % 4_096));
    let mut labels = vec![0; pixels];
    if label_map::unpack(width, feed.0, &mut labels).is_ok() {
        let cut = feed.0.len().saturating_sub(1);
        assert_eq!(label_map::unpack(width, &feed.0[..cut], &mut labels.clone()), Err(LabelMapError::Length));
        round(width, &labels);
    }
    round(width, feed.stretch(4_096));
}

fn round(width: usize, labels: &[u8]) {
    let mut packed = vec![0; labels.len() * 2 + 64];
    let n = label_map::pack(width, labels, &mut packed).unwrap();
    let mut back = vec![0; labels.len()];
    assert_eq!(label_map::unpack(width, &packed[..n], &mut back), Ok(()));
    assert_eq!(back, labels);
}

/// A frame of any description, and what a node makes of it: [layout, yuv, h, v, width.., height.., stride, settings.., bytes...].
pub fn frame(data: &[u8]) {
    let mut feed = Feed(data);
    let layout = match feed.below(10) {
        0 => Layout::Rgb24,
        1 => Layout::Bgr24,
        2 => Layout::Grey,
        3 => Layout::Yuyv,
        4 => Layout::Nv12,
        5 => Layout::I420,
        6 => Layout::Planar { h: feed.byte() % 3, v: feed.byte() % 2 },
        7 => Layout::Planar { h: feed.byte(), v: feed.byte() },
        8 => Layout::Uyvy,
        _ => Layout::Nv21,
    };
    let yuv = [Yuv::Bt601, Yuv::Bt601Full, Yuv::Bt709, Yuv::Bt709Full][feed.below(4)];
    let (width, height, stride) = (feed.number() as usize, feed.number() as usize, feed.number() as usize);
    let settings = Settings {
        lambda_q6: u32::from(feed.short()) % (442 * 64) + 1,
        coreset_size: u32::from(feed.short()) % 4_096 + 1,
        method: Method::ALL[feed.below(5)],
        refine: Refine::ALL[feed.below(4)],
        cold: feed.byte() & 1 == 1,
        w_open: Some(u32::from(feed.byte())).filter(|&w| w > 0),
        iterations_max: u32::from(feed.byte()) + 1,
        space: Space::Rgb,
        clusters_max: u32::from(feed.byte()).max(1),
        seed: 1,
        silhouette: true,
    };
    let tiled: Vec<u8>;
    let bytes = if data.first().is_some_and(|b| b & 0x80 != 0) {
        // As many bytes as a small frame needs, from the few there are.
        tiled = feed.0.iter().copied().cycle().take(4 * PIXELS_MAX).collect();
        &tiled[..]
    } else {
        feed.0
    };
    let Ok(frame) = Frame::new(layout, yuv, width, height, stride, bytes, Stamp::default()) else { return };
    assert_eq!((frame.width(), frame.height(), frame.pixels()), (width, height, width * height));
    let mut row = vec![0; width * 3];
    for y in [0, height - 1] {
        assert_eq!(frame.row(y, &mut row).len(), width * 3);
    }
    assert!(frame.row(height, &mut row).is_empty());
    let (left, top) = (settings.coreset_size as usize % width, settings.iterations_max as usize % height);
    if let Ok(part) = frame.cropped(left, top, (width - left).div_ceil(2), (height - top).div_ceil(2)) {
        let (bytes, last) = (part.width() * 3, part.height() - 1);
        let bottom = part.row(last, &mut row).to_vec();
        assert_eq!((bottom.len(), part.flipped_vertically().row(0, &mut row)), (bytes, &bottom[..]));
    }
    if frame.pixels() <= PIXELS_MAX {
        step(&frame, settings);
        step(&frame, Settings { space: Space::Cielab, ..settings });
        count(&frame);
    }
}

fn step(frame: &Frame<'_>, settings: Settings) {
    let (pixels, width_px) = (frame.pixels(), frame.width());
    let capacity = Capacity { pixels, width_px, coreset_size: settings.coreset_size, bits: HistogramBits::Four };
    let sizes = capacity.sizes();
    let (mut features, mut points) = (vec![Features::ZERO; sizes.features], vec![Point::ZERO; sizes.points]);
    let (mut merges, mut bytes) = (vec![Merge::ZERO; sizes.merges], vec![0; sizes.bytes]);
    let workspace = Workspace::in_slices(&capacity, &mut features, &mut points, &mut merges, &mut bytes).unwrap();
    let mut node = Node::new(settings, workspace).unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(settings.seed);
    // Twice: cold, and from the first one's clusters.
    for _ in 0..2 {
        let report = node.step(frame, &mut || 0, &mut rng).unwrap().clone();
        assert!(report.consistent() && !report.palette.is_empty());
        assert_eq!(report.births.iter().filter(|id| report.deaths.contains(id)).count(), 0);
        let (mut sse, mut farthest, mut pixels) = (0u64, 0u32, vec![0u32; report.palette.len()]);
        let (mut scratch, mut labels) = (vec![0; frame.width() * 3], node.labels().iter());
        assert_eq!(labels.len(), frame.pixels());
        for y in 0..frame.height() {
            for (px, &label) in frame.row(y, &mut scratch).as_chunks::<3>().0.iter().zip(labels.by_ref()) {
                pixels[usize::from(label)] += 1;
                let (space, point) = (settings.space, settings.space.of_rgb(*px));
                let distance2 = |c: [u16; 3]| -> u32 {
                    point.iter().zip(space.of_q6(c)).map(|(&p, c)| (i32::from(p) - i32::from(c)).pow(2) as u32).sum()
                };
                let d = distance2(report.palette[usize::from(label)].rgb_q6);
                let best = report.palette.iter().map(|s| distance2(s.rgb_q6)).min();
                assert_eq!(Some(d), best, "a label that is not the nearest centroid's");
                (sse, farthest) = (sse + u64::from(d), farthest.max(d));
            }
        }
        // In CIELAB pixels of whole cells count at the cell's mean.
        assert!(report.sse_q12 == sse || settings.space == Space::Cielab, "{} {sse}", report.sse_q12);
        assert_eq!(report.max_distance2_q12, farthest);
        assert_eq!(report.palette.iter().map(|s| s.pixels).collect::<Vec<_>>(), pixels);
        let mut buf = vec![0; REPORT_BYTES_MAX];
        let n = wire::encode(&report, &mut buf).unwrap();
        assert_eq!(wire::decode::<Report>(Report::VERSION, &buf[..n]), Ok(report));
    }
}

fn count(frame: &Frame<'_>) {
    let head = CensusHead {
        frame: 0,
        part: 0,
        parts: 0,
        pixels: 0,
        colours: 0,
        in_part: 0,
        centroids_q6: Default::default(),
        ids: Default::default(),
        space: Default::default(),
    };
    let (mut scratch, mut row) = (vec![0; frame.pixels()], vec![0; frame.width() * 3]);
    let mut census = Census::take(frame, head, &mut scratch, &mut row).unwrap();
    let (mut buf, mut pixels) = (vec![0; PAYLOAD_BYTES_MAX], 0);
    while let Some(n) = census.next_part(&mut buf).unwrap() {
        let (_, colours) = census::read_part(CensusHead::VERSION, &buf[..n]).unwrap();
        pixels += colours.map(|c| c.unwrap().1 as usize).sum::<usize>();
    }
    assert_eq!(pixels, frame.pixels());
}

/// Both halves of custody, each with any messages that decode.
pub fn custody(data: &[u8]) {
    let mut feed = Feed(data);
    let journals = ["a", "b"].map(|j| JournalId::try_from(j).unwrap());
    let mut sender = Sender::new(2, SenderConfig { window_records: 8, ..SenderConfig::default() });
    let mut receiver = Receiver::new(journals[0].clone());
    let (mut now, mut next) = (1u64, [0u64; 2]);
    let mut buf = vec![0; CONTROL_BYTES_MAX];
    for _ in 0..feed.byte() % 8 {
        let (since, floor, end) = (feed.number(), feed.number(), feed.number().min(SEQ_MAX));
        let _ = sender.restore(feed.number(), since.min(end), floor, end);
    }
    while !feed.is_empty() {
        now += u64::from(feed.byte()) << (feed.byte() % 24);
        match feed.below(10) {
            0 => {
                let i = feed.below(2);
                next[i] += u64::from(feed.byte());
                sender.accepted(2 + i as u64, next[i]);
            }
            1 | 2 => {
                if let Some(t) = sender.poll(now) {
                    assert!(sender.floor(t.stream).is_some_and(|f| f <= t.seq));
                    assert!(sender.streams().any(|s| s.stream == t.stream && t.seq < s.next));
                    sender.sent(t, feed.byte(), usize::from(feed.short()), now);
                    if feed.byte() & 1 == 0 {
                        receiver.journalled(t.stream, t.seq, now);
                        assert!(receiver.has(t.stream, t.seq));
                    }
                }
            }
            3 => {
                let window = Some(WindowId { boot: feed.number(), n: feed.number() });
                let journal = journals[feed.below(2)].clone();
                let mut ack = Ack { journal, window, streams: Default::default() };
                for _ in 0..feed.byte() % 4 {
                    let stream = feed.number();
                    let ranges = (0..feed.byte() % 5).map(|_| (feed.number(), feed.number())).filter(|r| r.0 < r.1);
                    let _ = ack.streams.push(StreamAck { stream, ranges: ranges.collect() });
                }
                sender.on_ack(&ack, now);
            }
            4 => {
                let ack = receiver.ack();
                let n = wire::encode_ack(&ack, &mut buf).unwrap();
                assert_eq!(wire::decode_ack(&buf[..n]).as_ref(), Ok(&ack));
                sender.on_ack(&ack, now);
            }
            5 => {
                let window = sender.window(now);
                let n = wire::encode_window(&window, &mut buf).unwrap();
                assert_eq!(wire::decode_window(&buf[..n]).as_ref(), Ok(&window));
                if receiver.is_foreign(&window) {
                    receiver.window_foreign(now);
                } else {
                    receiver.window_journalled(&window, now);
                }
            }
            6 => {
                let id = WindowId { boot: feed.number(), n: feed.number() };
                let streams = (0..feed.byte() % 5).map(|_| {
                    let (since, floor, next) = (feed.number(), feed.number(), feed.number().min(SEQ_MAX));
                    StreamWindow { stream: feed.number(), since: since.min(next), floor: floor.min(next), next }
                });
                receiver.window_journalled(&Window { id, journal: None, streams: streams.collect() }, now);
            }
            7 => receiver.journalled(feed.number(), feed.number().min(SEQ_MAX), now),
            8 => {
                let (stream, from) = (feed.number(), feed.number());
                if let Some((from, to)) = sender.unsettled(stream, from, feed.number().min(SEQ_MAX)) {
                    assert!(from < to);
                    sender.gone(stream, from, to);
                }
            }
            _ => match feed.byte() {
                b if b & 1 == 0 => sender.connected(now),
                b => sender.bridge_status(b & 2 == 0, now),
            },
        }
        let held: u128 = sender.streams().map(|s| u128::from(s.next)).sum();
        assert!(u128::from(sender.held()) <= held);
        let _ = (sender.deadline_us(), sender.window_due(now), sender.settled(), receiver.ack_due_us());
    }
}
