//! Turn: how a picture is rotated and flipped, for sources and for displays.
//!
//! A [`Turn`] rotates clockwise by quarters first and then flips what results. It maps pixel positions by three numbers, so a
//! turned picture is written by stepping through memory, without a lookup for each pixel. This file has no state and no side
//! effects.

/// A clockwise rotation by quarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotate {
    /// Not at all.
    #[default]
    Deg0,
    /// A quarter: the top goes to the right.
    Deg90,
    /// A half.
    Deg180,
    /// Three quarters: the top goes to the left.
    Deg270,
}

impl Rotate {
    /// The rotation by so many degrees; none if it is not by quarters.
    pub fn of_degrees(degrees: u64) -> Option<Rotate> {
        match degrees {
            0 => Some(Rotate::Deg0),
            90 => Some(Rotate::Deg90),
            180 => Some(Rotate::Deg180),
            270 => Some(Rotate::Deg270),
            _ => None,
        }
    }
}

/// A mirror image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flip {
    /// None.
    #[default]
    None,
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
}

impl Flip {
    /// `none`, `horizontal` or `vertical`.
    pub fn parse(word: &str) -> Option<Flip> {
        match word {
            "none" => Some(Flip::None),
            "horizontal" => Some(Flip::Horizontal),
            "vertical" => Some(Flip::Vertical),
            _ => None,
        }
    }
}

/// A rotation, then a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Comes first.
    pub rotate: Rotate,
    /// Comes second.
    pub flip: Flip,
}

/// Where the pixels of a picture lie in the turned picture: pixel (x, y) is at `start + x * right + y * down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Index of pixel (0, 0).
    pub start: isize,
    /// From a pixel to its right neighbour.
    pub right: isize,
    /// From a pixel to the one below it.
    pub down: isize,
}

impl Steps {
    /// Index of pixel (x, y) of the original in the turned picture.
    pub fn at(self, x: usize, y: usize) -> usize {
        (self.start + x as isize * self.right + y as isize * self.down) as usize
    }
}

impl Turn {
    /// Returns true if it changes nothing.
    pub fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// Returns true if columns become rows.
    pub fn swaps(self) -> bool {
        matches!(self.rotate, Rotate::Deg90 | Rotate::Deg270)
    }

    /// Width and height of the turned picture, in pixels. Also the size of the original for a given turned size.
    pub fn size(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.swaps() { (height, width) } else { (width, height) }
    }

    /// The steps for an original of this size, in pixels.
    pub fn steps(self, (width, height): (usize, usize)) -> Steps {
        let (w, h) = (width as isize, height as isize);
        let (tw, th) = if self.swaps() { (h, w) } else { (w, h) };
        let index = |x: isize, y: isize| {
            let (x, y) = match self.rotate {
                Rotate::Deg0 => (x, y),
                Rotate::Deg90 => (h - 1 - y, x),
                Rotate::Deg180 => (w - 1 - x, h - 1 - y),
                Rotate::Deg270 => (y, w - 1 - x),
            };
            let (x, y) = match self.flip {
                Flip::None => (x, y),
                Flip::Horizontal => (tw - 1 - x, y),
                Flip::Vertical => (x, th - 1 - y),
            };
            y * tw + x
        };
        let start = index(0, 0);
        Steps { start, right: index(1, 0) - start, down: index(0, 1) - start }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// All twelve combinations, some of which are the same.
    pub fn all() -> impl Iterator<Item = Turn> {
        let rotations = [Rotate::Deg0, Rotate::Deg90, Rotate::Deg180, Rotate::Deg270];
        let flips = [Flip::None, Flip::Horizontal, Flip::Vertical];
        rotations.into_iter().flat_map(move |rotate| flips.map(|flip| Turn { rotate, flip }))
    }

    /// The turned picture, made by quarter turns of whole pictures.
    pub fn oracle<T: Copy>(turn: Turn, size: (usize, usize), pixels: &[T]) -> Vec<T> {
        let ((mut w, mut h), mut picture) = (size, pixels.to_vec());
        let quarters = match turn.rotate {
            Rotate::Deg0 => 0,
            Rotate::Deg90 => 1,
            Rotate::Deg180 => 2,
            Rotate::Deg270 => 3,
        };
        for _ in 0..quarters {
            // The new row x is the old column x, read from the bottom.
            picture = (0..w).flat_map(|x| (0..h).rev().map(move |y| (x, y))).map(|(x, y)| picture[y * w + x]).collect();
            (w, h) = (h, w);
        }
        match turn.flip {
            Flip::None => picture,
            Flip::Horizontal => picture.chunks(w).flat_map(|row| row.iter().rev().copied()).collect(),
            Flip::Vertical => picture.chunks(w).rev().flatten().copied().collect(),
        }
    }

    #[test]
    fn steps_lead_where_quarter_turns_of_whole_pictures_lead() {
        for size in [(1, 1), (3, 2), (2, 5), (4, 4), (7, 1)] {
            let pixels: Vec<usize> = (0..size.0 * size.1).collect();
            for turn in all() {
                let (steps, mut turned) = (turn.steps(size), vec![0; pixels.len()]);
                for &i in &pixels {
                    turned[steps.at(i % size.0, i / size.0)] = i;
                }
                assert_eq!(turned, oracle(turn, size, &pixels), "{turn:?} {size:?}");
            }
        }
        let right = oracle(Turn { rotate: Rotate::Deg90, flip: Flip::None }, (2, 2), &['a', 'b', 'c', 'd']);
        assert_eq!(right, ['c', 'a', 'd', 'b'], "clockwise");
    }
}
