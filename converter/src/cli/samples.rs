//! From the files on the command line to what a network is fed with.

use super::engine::Port;
use super::failure::Failure;
use super::out;
use clap::builder::{OsStringValueParser, TypedValueParser};
use sepal_converter::data::image;
use sepal_converter::data::npz::{self, Array, Arrays};
use sepal_converter::data::recipe::{Recipe, Target};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// One array per input.
pub type Sample = Vec<Vec<f32>>;

/// What there is to run.
#[derive(Debug)]
pub struct Samples {
    /// Each has one array per input, in the network's order.
    pub samples: Vec<Sample>,
    /// Where each comes from.
    pub names: Vec<String>,
    /// Outputs are numbered `y{i}_{j}`, not named.
    pub numbered: bool,
}

/// `[NAME=]FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputArg {
    name: Option<String>,
    pub path: PathBuf,
}

impl From<&OsStr> for InputArg {
    /// A file whose own name contains `=` needs a folder before it (`./a=b.npy`), as a shell user would write it. A path may be
    /// anything that the system takes; the name before it is text.
    fn from(s: &OsStr) -> Self {
        let split = split_once(s).filter(|(name, _)| !name.contains('/') || !Path::new(s).exists());
        match split {
            Some((name, path)) => InputArg { name: Some(name.to_owned()), path: path.into() },
            None => InputArg { name: None, path: s.into() },
        }
    }
}

#[cfg(unix)]
fn split_once(s: &OsStr) -> Option<(&str, &OsStr)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = s.as_bytes();
    let at = bytes.iter().position(|&b| b == b'=')?;
    Some((str::from_utf8(&bytes[..at]).ok()?, OsStr::from_bytes(&bytes[at + 1..])))
}

#[cfg(not(unix))]
fn split_once(s: &OsStr) -> Option<(&str, &OsStr)> {
    s.to_str()?.split_once('=').map(|(name, path)| (name, OsStr::new(path)))
}

/// How an argument becomes one.
pub fn input_arg() -> impl TypedValueParser<Value = InputArg> {
    OsStringValueParser::new().map(|s| InputArg::from(s.as_os_str()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Npy,
    Npz,
    Picture,
}

fn kind(path: &Path) -> Result<Kind, Failure> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "npy" => Ok(Kind::Npy),
        "npz" => Ok(Kind::Npz),
        "png" | "jpg" | "jpeg" => Ok(Kind::Picture),
        _ => Err(Failure::usage(format!("{}: inputs are .npy, .npz, .png or .jpg files", path.display()))),
    }
}

/// Reads all inputs.
///
/// Files without a name, for a network with one input, are a sample each; an `.npz` with arrays `x0, x1, ..` (or
/// `x0_0, x0_1, ..`) is several samples; otherwise the files together make one sample.
pub fn read(args: &[InputArg], ports: &[Port], recipe: &Recipe) -> Result<Samples, Failure> {
    if args.is_empty() {
        // A network without inputs is run as it is.
        let nothing = Samples { samples: vec![vec![]], names: vec!["sample".into()], numbered: false };
        return if ports.is_empty() { Ok(nothing) } else { Err(Failure::usage(format!("--input is needed; {}", list(ports)))) };
    }
    if ports.is_empty() {
        return Err(Failure::usage("--input: the network has no inputs"));
    }
    let args = &without_folders(args)?[..];
    if let [only] = args
        && only.name.is_none()
        && kind(&only.path)? == Kind::Npz
    {
        let arrays = npz::read_npz(&only.path)?;
        if let Some(samples) = numbered(&arrays, ports, &only.path)? {
            let names = (0..samples.len()).map(|i| format!("sample {i}")).collect();
            return Ok(Samples { samples, names, numbered: true });
        }
        let sample = named(&arrays, ports, &only.path)?;
        return Ok(Samples { samples: vec![sample], names: vec![only.path.display().to_string()], numbered: false });
    }
    if let [port] = ports
        && args.iter().all(|a| a.name.is_none())
    {
        let samples = args.iter().map(|a| Ok(vec![one(a, port, recipe)?])).collect::<Result<Vec<_>, Failure>>()?;
        let names = args.iter().map(|a| a.path.display().to_string()).collect();
        return Ok(Samples { numbered: samples.len() > 1, samples, names });
    }

    let mut slots: Vec<Option<Vec<f32>>> = vec![None; ports.len()];
    for arg in args {
        let i = match &arg.name {
            Some(name) => ports.iter().position(|p| &p.name == name).ok_or_else(|| unknown(name, ports))?,
            None if ports.len() == 1 => 0,
            None => {
                return Err(Failure::usage(format!("{}: which input is it? Write NAME={0}; {}", arg.path.display(), list(ports))));
            }
        };
        if slots[i].replace(one(arg, &ports[i], recipe)?).is_some() {
            return Err(Failure::usage(format!("input {} is given twice", out::plain(&ports[i].name))));
        }
    }
    let sample = slots.into_iter().zip(ports).map(|(slot, port)| {
        slot.ok_or_else(|| Failure::usage(format!("input {} is missing; {}", out::plain(&port.name), list(ports))))
    });
    let sample = sample.collect::<Result<Sample, _>>()?;
    Ok(Samples { samples: vec![sample], names: vec!["sample".into()], numbered: false })
}

/// The files in place of the folders that they are in, in the order of their names: pictures and arrays.
fn without_folders(args: &[InputArg]) -> Result<Vec<InputArg>, Failure> {
    let mut all = Vec::new();
    for arg in args {
        if !arg.path.is_dir() {
            all.push(arg.clone());
            continue;
        }
        let entries = std::fs::read_dir(&arg.path).map_err(|e| Failure::io(&arg.path, &e))?;
        let mut files =
            entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(|e| Failure::io(&arg.path, &e))?;
        files.retain(|p| p.is_file() && matches!(kind(p), Ok(Kind::Npy | Kind::Picture)));
        files.sort();
        if files.is_empty() {
            return Err(Failure::invalid(format!("{}: no .png, .jpg or .npy file in this folder", arg.path.display())));
        }
        all.extend(files.into_iter().map(|path| InputArg { name: arg.name.clone(), path }));
    }
    Ok(all)
}

/// The samples `x{i}` or `x{i}_{j}` of an archive, if it has them (and they are not simply the inputs' names).
pub fn numbered(arrays: &Arrays, ports: &[Port], path: &Path) -> Result<Option<Vec<Sample>>, Failure> {
    let key = |i: usize, j: usize| {
        let long = format!("x{i}_{j}");
        if ports.len() == 1 && !arrays.contains_key(&long) { format!("x{i}") } else { long }
    };
    if ports.is_empty() || !arrays.contains_key(&key(0, 0)) || ports.iter().all(|p| arrays.contains_key(&p.name)) && ports.len() > 1
    {
        return Ok(None);
    }
    let mut samples = Vec::new();
    while arrays.contains_key(&key(samples.len(), 0)) {
        let i = samples.len();
        let sample = ports.iter().enumerate().map(|(j, port)| {
            let name = key(i, j);
            let array = arrays
                .get(&name)
                .ok_or_else(|| Failure::invalid(format!("{}: sample {i} has no {name} for input {}", path.display(), port.name)))?;
            fit(array, port, &format!("{}, array {name}", path.display()))
        });
        samples.push(sample.collect::<Result<Sample, _>>()?);
    }
    // What lies behind a gap would not be looked at.
    let number = |name: &str| {
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<usize>().ok()).flatten();
        let (sample, input) = name.strip_prefix('x').map(|rest| rest.split_once('_').unwrap_or((rest, "0")))?;
        digits(input).and(digits(sample))
    };
    if let Some(name) = arrays.keys().find(|name| number(name).is_some_and(|i| i >= samples.len())) {
        let (at, name) = (path.display(), out::plain(name));
        return Err(Failure::invalid(format!("{at}: it has {name}, but no {}", key(samples.len(), 0))));
    }
    Ok(Some(samples))
}

/// The arrays of an archive under the inputs' names, or its only array.
pub fn named(arrays: &Arrays, ports: &[Port], path: &Path) -> Result<Sample, Failure> {
    let at = path.display();
    let sample = ports.iter().map(|port| {
        let only = arrays.iter().next().filter(|_| arrays.len() == 1 && ports.len() == 1);
        match arrays.get_key_value(&port.name).or(only) {
            Some((name, array)) => fit(array, port, &format!("{at}, array {}", out::plain(name))),
            None => {
                let has = arrays.keys().map(|k| out::plain(k)).collect::<Vec<_>>().join(", ");
                Err(Failure::invalid(format!("{at}: no array for input {}; there are: {has}", out::plain(&port.name))))
            }
        }
    });
    sample.collect()
}

fn one(arg: &InputArg, port: &Port, recipe: &Recipe) -> Result<Vec<f32>, Failure> {
    match kind(&arg.path)? {
        Kind::Npy => fit(&npz::read_npy(&arg.path)?, port, &arg.path.display().to_string()),
        Kind::Npz => {
            let arrays = npz::read_npz(&arg.path)?;
            Ok(named(&arrays, std::slice::from_ref(port), &arg.path)?.swap_remove(0))
        }
        Kind::Picture => {
            let target = target(port).map_err(|why| Failure::invalid(format!("{}: {why}", arg.path.display())))?;
            Ok(image::read(&arg.path, target, recipe)?)
        }
    }
}

/// An array's elements, if its shape is the input's; leading extents of 1 do not matter.
fn fit(array: &Array, port: &Port, what: &str) -> Result<Vec<f32>, Failure> {
    fn core(dims: &[usize]) -> &[usize] {
        let ones = dims.iter().take_while(|&&d| d == 1).count();
        &dims[ones..]
    }
    if core(&array.shape) == core(&port.dims) {
        return Ok(array.values.clone());
    }
    Err(Failure::invalid(format!(
        "{what}: shape {}, input {} takes {}",
        out::shape(&array.shape),
        out::plain(&port.name),
        out::shape(&port.dims)
    )))
}

/// What a picture is to become for an input.
pub fn target(port: &Port) -> Result<Target, String> {
    let &[1, a, b, c] = port.dims.as_slice() else {
        return Err(format!("input {} of shape {} does not take one picture", out::plain(&port.name), out::shape(&port.dims)));
    };
    let picture = |n: usize| matches!(n, 1 | 3 | 4);
    let planar = match port.layout {
        "NHWC" => false,
        "NCHW" => true,
        _ => picture(a) && !picture(c),
    };
    Ok(match planar {
        false => Target { height: a, width: b, channels: c, planar },
        true => Target { height: b, width: c, channels: a, planar },
    })
}

fn unknown(name: &str, ports: &[Port]) -> Failure {
    Failure::usage(format!("no input {name}; {}", list(ports)))
}

fn list(ports: &[Port]) -> String {
    let names: Vec<String> = ports.iter().map(|p| out::plain(&p.name)).collect();
    format!("the inputs are: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, dims: &[usize]) -> Port {
        Port { name: name.into(), dims: dims.to_vec(), layout: "" }
    }

    fn arrays(all: &[(&str, &[usize], f32)]) -> Arrays {
        let array = |dims: &[usize], v| Array { shape: dims.to_vec(), values: vec![v; dims.iter().product()] };
        all.iter().map(|&(name, dims, v)| (name.to_owned(), array(dims, v))).collect()
    }

    #[test]
    fn samples_of_one_and_of_two_inputs() {
        let p = Path::new("f.npz");
        let one = [port("in", &[1, 2])];
        let two = [port("a", &[1, 2]), port("b", &[1, 1])];
        let a = arrays(&[("x0", &[1, 2], 0.0), ("x1", &[1, 2], 1.0), ("y0_0", &[1], 9.0)]);
        assert_eq!(numbered(&a, &one, p).unwrap().unwrap(), [[[0.0, 0.0]], [[1.0, 1.0]]]);
        let a = arrays(&[("x0_0", &[1, 2], 0.0), ("x0_1", &[1, 1], 1.0)]);
        assert_eq!(numbered(&a, &two, p).unwrap().unwrap(), [[vec![0.0, 0.0], vec![1.0]]]);
        let a = arrays(&[("x0_0", &[1, 2], 0.0)]);
        assert!(numbered(&a, &two, p).is_err());
        assert!(numbered(&arrays(&[("in", &[1, 2], 0.0)]), &one, p).unwrap().is_none());
        let gap = arrays(&[("x0", &[1, 2], 0.0), ("x2", &[1, 2], 1.0), ("xyz", &[1], 0.0)]);
        let others = arrays(&[("x0", &[1, 2], 0.0), ("x1_scale", &[1], 1.0), ("x9_", &[1], 0.0), ("x+7", &[1], 0.0)]);
        assert_eq!(numbered(&others, &one, p).unwrap().unwrap().len(), 1);
        assert!(numbered(&gap, &one, p).unwrap_err().message().contains("it has x2, but no x1"));
    }

    #[test]
    fn arrays_by_name_or_the_only_one() {
        let p = Path::new("f.npz");
        let two = [port("a", &[1, 2]), port("b", &[1, 1])];
        let a = arrays(&[("b", &[1, 1], 1.0), ("a", &[2], 0.0)]);
        assert_eq!(named(&a, &two, p).unwrap(), [vec![0.0, 0.0], vec![1.0]]);
        assert!(named(&arrays(&[("a", &[1, 2], 0.0)]), &two, p).is_err());
        assert_eq!(named(&arrays(&[("arr_0", &[1, 2], 3.0)]), &two[..1], p).unwrap(), [[3.0, 3.0]]);
        assert!(named(&arrays(&[("arr_0", &[3, 2], 3.0)]), &two[..1], p).is_err());
    }

    #[test]
    fn names_before_files() {
        let arg = |s: &str| InputArg::from(OsStr::new(s));
        assert_eq!(arg("x.npy"), InputArg { name: None, path: "x.npy".into() });
        assert_eq!(arg("in:0=d/x.npy"), InputArg { name: Some("in:0".into()), path: "d/x.npy".into() });
        assert_eq!(arg("a/b:0=x.npy"), InputArg { name: Some("a/b:0".into()), path: "x.npy".into() });
    }

    #[test]
    fn pictures_go_where_the_channels_are() {
        let t = |layout, dims: &[usize]| target(&Port { name: "x".into(), dims: dims.to_vec(), layout });
        assert_eq!(t("NHWC", &[1, 8, 9, 3]).unwrap(), Target { height: 8, width: 9, channels: 3, planar: false });
        assert_eq!(t("NCHW", &[1, 3, 8, 9]).unwrap(), Target { height: 8, width: 9, channels: 3, planar: true });
        assert!(t("", &[1, 1, 8, 9]).unwrap().planar);
        assert!(!t("", &[1, 8, 9, 1]).unwrap().planar);
        assert!(t("NHWC", &[2, 8, 9, 3]).is_err() && t("", &[1, 10]).is_err());
    }
}
