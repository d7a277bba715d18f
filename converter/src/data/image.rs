//! Pictures as network inputs: decode, resize, scale.

use super::DataError;
use super::recipe::{Normalize, Recipe, Resize, Target};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Luma, Rgb};
use std::io::Cursor;
use std::path::Path;

/// Most bytes that decoding may take: a photograph of 80 megapixels.
const MAX_DECODED: u64 = 256 << 20;
/// Most pixels of a picture, whose levels are floats once it is decoded.
const MAX_PIXELS: u64 = MAX_DECODED / 3;
/// Most pixels of a picture that has got the target's rows, but not yet its columns: half a gigabyte.
const MAX_BETWEEN: u64 = 1 << 25;
/// Most numbers that a picture becomes: 400 MB.
const MAX_TARGET: u64 = 96 << 20;

/// Reads a PNG or JPEG: see [`decode`].
///
/// # Errors
/// [`DataError`], also for what is not a picture.
pub fn read(path: &Path, target: Target, recipe: &Recipe) -> Result<Vec<f32>, DataError> {
    let bytes = crate::file::read_at_most(path, MAX_DECODED).map_err(|e| DataError::io(path, e))?;
    decode_by(&bytes, target, recipe).map_err(|e| DataError::invalid(path, e))
}

/// Decodes a PNG or JPEG, resizes it to the target with a triangle filter that widens when shrinking (bilinear,
/// antialiased), whatever its proportions, and scales its levels. Colour becomes grey by 0.299 R + 0.587 G + 0.114 B.
/// Opacity is dropped, unless four channels are asked for. A picture is turned as its EXIF orientation says.
///
/// # Errors
/// Says what is not a picture, or cannot become the target.
pub fn decode(bytes: &[u8], target: Target, normalize: &Normalize) -> Result<Vec<f32>, String> {
    decode_by(bytes, target, &Recipe { normalize: normalize.clone(), ..Recipe::default() })
}

/// As [`decode`], by any recipe.
///
/// # Errors
/// As [`decode`].
pub fn decode_by(bytes: &[u8], target: Target, recipe: &Recipe) -> Result<Vec<f32>, String> {
    let Target { height, width, channels, planar } = target;
    let normalize = &recipe.normalize;
    if recipe.bgr && channels < 3 {
        return Err(format!("blue, green and red for an input of {channels} channels"));
    }
    if let Normalize::PerChannel { mean, .. } = normalize
        && mean.len() > 1
        && mean.len() != channels
    {
        return Err(format!("normalisation of {} channels for an input of {channels}", mean.len()));
    }
    let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(format!("cannot make a picture of {width} x {height}"));
    };
    // A small file may ask for any input.
    if [width, height, channels].iter().fold(1u64, |n, &d| n.saturating_mul(d as u64)) > MAX_TARGET {
        return Err(format!("an input of {height} x {width} x {channels} is too large for a picture; give an array (.npy)"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    // Its decoder makes up what a JPEG lacks.
    if reader.format() == Some(image::ImageFormat::Jpeg) && !jpeg_ends(bytes) {
        return Err("not a picture that can be read: the JPEG is cut off, its end is missing".into());
    }
    let unreadable = |e: image::ImageError| format!("not a picture that can be read: {e}");
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (columns, rows) = decoder.dimensions();
    if decoder.total_bytes() > MAX_DECODED || u64::from(columns) * u64::from(rows) > MAX_PIXELS {
        return Err(format!("not a picture that can be read: it has more than {MAX_DECODED} bytes, or {MAX_PIXELS} pixels"));
    }
    // Cameras store pictures as their sensor lies and say how they were held.
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    let (all, size) = ((w, h), within(&mut picture, (w, h), recipe.resize));
    // It gets its rows first, if it is not as it shall be.
    let between = u64::from(picture.width()) * u64::from(size.1);
    if (picture.width(), picture.height()) != size && between > MAX_BETWEEN.max(u64::from(size.0) * u64::from(size.1)) {
        return Err(format!("a picture {} pixels wide is too wide for {} rows; make it smaller first", picture.width(), size.1));
    }
    let bars = if let Resize::Fit(bars) = recipe.resize { bars } else { 0.0 };

    let mut levels = match channels {
        1 if !picture.color().has_color() => resize::<Luma<f32>>(picture.to_luma32f(), size, all, bars),
        1 => {
            let rgb = picture.into_rgb32f();
            let grey = ImageBuffer::from_fn(rgb.width(), rgb.height(), |x, y| {
                let Rgb([r, g, b]) = *rgb.get_pixel(x, y);
                Luma([0.299 * r + 0.587 * g + 0.114 * b])
            });
            drop(rgb);
            resize::<Luma<f32>>(grey, size, all, bars)
        }
        3 => resize(picture.into_rgb32f(), size, all, bars),
        4 => resize(picture.into_rgba32f(), size, all, bars),
        n => return Err(format!("a picture cannot fill an input of {n} channels; give an array (.npy)")),
    };
    let pixels = height * width;
    // Of the network's channel c.
    let from = |c: usize| if recipe.bgr && c < 3 { 2 - c } else { c };
    if planar && channels > 1 {
        let mut planes = Vec::with_capacity(levels.len());
        (0..channels).for_each(|c| planes.extend((0..pixels).map(|i| normalize.apply(levels[i * channels + from(c)], c))));
        return Ok(planes);
    }
    for pixel in levels.chunks_exact_mut(channels) {
        if recipe.bgr {
            pixel.swap(0, 2);
        }
        pixel.iter_mut().enumerate().for_each(|(c, level)| *level = normalize.apply(*level, c));
    }
    Ok(levels)
}

/// Whether a JPEG has the marker of its end, outside of its segments: thumbnails in those have ends of their own.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    // After the marker of the beginning.
    let mut rest = bytes.get(2..).unwrap_or_default();
    // The next marker: 0xff repeated is filling, and before 0 or a restart (or beginning) it is data.
    while let Some(at) = rest.windows(2).position(|w| w[0] == 0xff && !matches!(w[1], 0 | 1 | 0xff | 0xd0..=0xd8)) {
        if rest[at + 1] == END {
            return true;
        }
        let len = rest.get(at + 2..at + 4).map_or(usize::MAX, |l| usize::from(u16::from_be_bytes([l[0], l[1]])));
        rest = rest.get((at + 2).saturating_add(len)..).unwrap_or_default();
    }
    false
}

/// Cuts out of the picture what the rule wants of it, and tells the size that this gets within the target of `w` columns and `h` rows.
fn within(picture: &mut DynamicImage, (w, h): (u32, u32), rule: Resize) -> (u32, u32) {
    let (pw, ph) = (picture.width(), picture.height());
    // How often the target goes into the picture, across and down.
    let (across, down) = (f64::from(pw) / f64::from(w.max(1)), f64::from(ph) / f64::from(h.max(1)));
    let whole = |v: f64, most: u32| (v.round() as u32).clamp(1, most.max(1));
    match rule {
        Resize::Stretch => (w, h),
        Resize::Crop(share) => {
            let times = across.min(down) * f64::from(share);
            let (cw, ch) = (whole(f64::from(w) * times, pw), whole(f64::from(h) * times, ph));
            *picture = picture.crop_imm((pw - cw) / 2, (ph - ch) / 2, cw, ch);
            (w, h)
        }
        Resize::Fit(_) => {
            let times = across.max(down);
            (whole(f64::from(pw) / times, w), whole(f64::from(ph) / times, h))
        }
    }
}

/// The picture at a size, and bars around it where that is less than all.
fn resize<P>(picture: ImageBuffer<P, Vec<f32>>, size: (u32, u32), all: (u32, u32), bars: f32) -> Vec<f32>
where
    P: image::Pixel<Subpixel = f32> + 'static,
{
    let small =
        if picture.dimensions() == size { picture } else { imageops::resize(&picture, size.0, size.1, FilterType::Triangle) };
    if size == all {
        return small.into_raw();
    }
    let bar = *P::from_slice(&[bars; 4][..P::CHANNEL_COUNT as usize]);
    let mut whole = ImageBuffer::from_pixel(all.0, all.1, bar);
    imageops::replace(&mut whole, &small, i64::from((all.0 - size.0) / 2), i64::from((all.1 - size.1) / 2));
    whole.into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn png(w: u32, h: u32, f: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(w, h, |x, y| Rgb(f(x, y)));
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    const RGB: Target = Target { height: 2, width: 2, channels: 3, planar: false };

    #[test]
    fn keeps_pixels_when_the_size_fits() {
        let bytes = png(2, 2, |x, y| [(x * 255) as u8, (y * 255) as u8, 51]);
        let got = decode(&bytes, RGB, &Normalize::default()).unwrap();
        assert_eq!(got, [0.0, 0.0, 0.2, 1.0, 0.0, 0.2, 0.0, 1.0, 0.2, 1.0, 1.0, 0.2]);
        let got = decode(&bytes, Target { planar: true, ..RGB }, &Normalize::default()).unwrap();
        assert_eq!(got, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2]);
    }

    /// Orientation 6: the camera was held a quarter turn to the left, so the picture is turned to the right.
    #[test]
    fn a_photo_is_turned_as_it_was_held() {
        let picture = image::RgbImage::from_fn(16, 16, |x, _| Rgb([if x < 8 { 255 } else { 0 }; 3]));
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
        let plain = out.into_inner();
        // Little endian, one entry: tag 0x112, a short, one of it.
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let mut turned = plain[..2].to_vec();
        turned.extend([0xff, 0xe1, 0, (2 + 6 + tiff.len()) as u8]);
        turned.extend(b"Exif\0\0");
        turned.extend(tiff);
        turned.extend(&plain[2..]);
        let grey = Target { height: 2, width: 2, channels: 1, planar: false };
        let bright =
            |bytes: &[u8]| decode(bytes, grey, &Normalize::default()).unwrap().iter().map(|&v| v > 0.5).collect::<Vec<_>>();
        assert_eq!(bright(&plain), [true, false, true, false]);
        assert_eq!(bright(&turned), [true, true, false, false]);
    }

    #[test]
    fn colour_becomes_grey_by_its_brightness() {
        let bytes = png(1, 1, |_, _| [255, 0, 0]);
        let one = Target { height: 1, width: 1, channels: 1, planar: false };
        assert_eq!(decode(&bytes, one, &Normalize::default()).unwrap(), [0.299]);
    }

    #[test]
    fn a_picture_that_is_cut_off_is_refused() {
        let picture = image::RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, 0]));
        for format in [image::ImageFormat::Jpeg, image::ImageFormat::Png] {
            let mut out = Cursor::new(Vec::new());
            picture.write_to(&mut out, format).unwrap();
            let mut bytes = out.into_inner();
            assert!(decode(&bytes, RGB, &Normalize::default()).is_ok());
            // Of a PNG, what is behind its pixels may be missing.
            for len in (0..bytes.len() - 40).step_by(7) {
                assert!(decode(&bytes[..len], RGB, &Normalize::default()).is_err(), "{format:?}, {len} bytes");
            }
            bytes.extend(b"what follows");
            assert!(decode(&bytes, RGB, &Normalize::default()).is_ok());
        }
    }

    /// A thumbnail's end is none of the picture's, and no segment may be longer than the file.
    #[test]
    fn the_end_of_a_jpeg_is_outside_of_its_segments() {
        let thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 0, 0];
        assert!(!jpeg_ends(&thumbnail));
        assert!(jpeg_ends(&[&thumbnail[..], &[5, 0xff, 0, 0xff, 0xd3, 7, 0xff, 0xff, 0xd9]].concat()));
        assert!(!jpeg_ends(&[0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 0xff, 0xd9]));
        assert!(!jpeg_ends(&[0xff, 0xd8, 0xff]) && !jpeg_ends(&[]));
    }

    #[test]
    fn shrinking_averages() {
        let bytes = png(64, 64, |x, _| [if x % 2 == 0 { 255 } else { 0 }; 3]);
        let got = decode(&bytes, RGB, &Normalize::default()).unwrap();
        assert!(got.iter().all(|v| (v - 0.5).abs() < 0.05), "{got:?}");
    }

    #[test]
    fn modes_of_normalisation() {
        let bytes = png(1, 1, |_, _| [255, 0, 51]);
        let t = Target { height: 1, width: 1, channels: 3, planar: false };
        let with = |mode: &str| decode(&bytes, t, &mode.parse().unwrap()).unwrap();
        assert_eq!(with("-1..1"), [1.0, -1.0, 0.2f32 * 2.0 - 1.0]);
        assert_eq!(with("0..255"), [255.0, 0.0, 0.2f32 * 255.0]);
        assert_eq!(with("imagenet")[1], -0.456 / 0.224);
        assert_eq!(with("mean=0.5;std=0.25")[0], 2.0);
        for bad in ["", "mean=1", "mean=1,2;std=1,2", "mean=1;std=0", "mean=x;std=1", "mean=1,2,3;std=1"] {
            assert!(bad.parse::<Normalize>().is_err(), "{bad}");
        }
    }

    /// Small files, but wide ones, and the rows are many.
    #[test]
    fn pictures_that_take_gigabytes_are_refused() {
        let wide = png(1 << 20, 1, |_, _| [0; 3]);
        assert!(decode(&wide, RGB, &Normalize::default()).is_ok());
        let tall = Target { height: 64, ..RGB };
        assert!(decode(&wide, tall, &Normalize::default()).unwrap_err().contains("too wide"));
        // One that has the size is not resized.
        let mut large = Cursor::new(Vec::new());
        image::GrayImage::new(5800, 5800).write_to(&mut large, image::ImageFormat::Png).unwrap();
        let same = Target { height: 5800, width: 5800, channels: 1, planar: false };
        assert_eq!(decode(large.get_ref(), same, &Normalize::default()).unwrap().len(), 5800 * 5800);
        let input = Target { height: 6000, width: 6000, channels: 3, planar: false };
        assert!(decode(&png(2, 2, |_, _| [0; 3]), input, &Normalize::default()).unwrap_err().contains("give an array"));
        // Of which the rows of the picture itself are left.
        let fit = Recipe { resize: Resize::Fit(0.0), ..Recipe::default() };
        assert!(decode_by(&wide, tall, &fit).is_ok());
        let mut grey = Cursor::new(Vec::new());
        image::GrayImage::new(1 << 14, 6000).write_to(&mut grey, image::ImageFormat::Png).unwrap();
        assert!(decode(grey.get_ref(), RGB, &Normalize::default()).unwrap_err().contains("pixels"));
    }

    #[test]
    fn rules_of_resizing() {
        // Red on the left, green in the middle, blue on the right.
        let bytes = png(6, 2, |x, _| std::array::from_fn(|c| if x / 2 == c as u32 { 255 } else { 0 }));
        let with = |resize, bgr| decode_by(&bytes, RGB, &Recipe { resize, bgr, ..Recipe::default() }).unwrap();
        let green = [0.0, 1.0, 0.0];
        assert_eq!(with(Resize::Crop(1.0), false), [green; 4].concat());
        assert_eq!(with(Resize::Crop(0.5), false), [green; 4].concat());
        let wide = Target { height: 6, width: 6, ..RGB };
        let recipe = Recipe { resize: Resize::Fit(0.25), ..Recipe::default() };
        let got = decode_by(&bytes, wide, &recipe).unwrap();
        assert_eq!(got[..3], [0.25; 3]);
        assert_eq!(got[2 * 18..2 * 18 + 3], [1.0, 0.0, 0.0]);
        assert_eq!(got[5 * 18..5 * 18 + 3], [0.25; 3]);
        let left = decode_by(&bytes, wide, &Recipe { bgr: true, ..Recipe::default() }).unwrap();
        assert_eq!(left[..3], [0.0, 0.0, 1.0]);
        let one = Target { channels: 1, ..RGB };
        assert!(decode_by(&bytes, one, &Recipe { bgr: true, ..Recipe::default() }).is_err());
    }

    #[test]
    fn channels_that_no_picture_has_are_refused() {
        let bytes = png(1, 1, |_, _| [0; 3]);
        assert!(decode(&bytes, Target { channels: 2, ..RGB }, &Normalize::default()).is_err());
        let grey = Target { channels: 1, ..RGB };
        assert!(decode(&bytes, grey, &"imagenet".parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, RGB, &Normalize::default());
            let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
            png.extend(&bytes);
            let _ = decode(&png, RGB, &Normalize::default());
        }
    }
}
