//! How close is close enough: flat tolerances, or the rules of an index of models.

use super::failure::Failure;
use super::out;
use sepal_converter::data::npz::{Array, Arrays};
use sepal_converter::file::read_at_most;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest index.
const MAX_INDEX: u64 = 2 << 20;

/// An entry of an index: `{"models": [{"name", "golden", "format", "outputs", "tolerance"}]}`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file of inputs and expected outputs.
    pub golden: PathBuf,
    /// What is allowed.
    pub rules: Rules,
}

/// What an index allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Alternatives; one must hold.
    pub any_of: Vec<Bounds>,
    /// Largest difference in any channel, as a share of that channel's largest magnitude.
    pub channel_rel: Option<f64>,
    /// Largest difference of logarithms, where the expected value exceeds 1e-12.
    pub log_max_abs: Option<f64>,
    /// Channels are axis 1, not the last.
    pub channels_first: bool,
}

/// Largest differences from the outputs under one letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// First letter of the arrays' names: `y` for `y0_0`.
    pub key: String,
    /// One per output.
    pub max_abs: Vec<f64>,
}

/// What one output came to over all samples.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Largest difference.
    pub max_abs: f64,
    /// The same as a share of the largest expected magnitude.
    pub relative: f64,
    /// What is not right, in words.
    pub complaints: Vec<String>,
}

impl Entry {
    /// Finds the entry of a name in an index.
    pub fn find(index: &Path, name: &str) -> Result<Entry, Failure> {
        let text = read_at_most(index, MAX_INDEX).map_err(|e| Failure::io(index, &e))?;
        let bad = |what: &str| Failure::invalid(format!("{}: {what}", index.display()));
        let json: Value = serde_json::from_slice(&text).map_err(|e| bad(&e.to_string()))?;
        let models = json["models"].as_array().ok_or_else(|| bad("no list of models"))?;
        let Some(row) = models.iter().find(|m| m["name"] == name) else {
            let names: Vec<&str> = models.iter().filter_map(|m| m["name"].as_str()).collect();
            return Err(bad(&out::plain(&format!("no entry {name}; there are {}", names.join(", ")))));
        };
        let golden = row["golden"].as_str().ok_or_else(|| bad("the entry names no golden"))?;
        let rules = Rules::parse(row).map_err(|e| bad(&format!("entry {name}: {e}")))?;
        Ok(Entry { golden: index.with_file_name("").join(golden), rules })
    }
}

impl Rules {
    fn parse(row: &Value) -> Result<Rules, String> {
        let t = &row["tolerance"];
        if t.get("max_steps").is_some() {
            return Err("its tolerance is one for quantised networks, which are not supported yet".into());
        }
        let bounds = |t: &Value, key: &str| -> Result<Bounds, String> {
            let list = t["max_abs"].as_array().ok_or("its tolerance has no max_abs")?;
            let max_abs = list.iter().map(|v| v.as_f64().ok_or("a bound that is no number")).collect::<Result<_, _>>()?;
            Ok(Bounds { key: key.to_owned(), max_abs })
        };
        let any_of = match t["any_of"].as_array() {
            Some(all) if all.is_empty() => return Err("its tolerance has no alternatives".into()),
            Some(all) => all.iter().map(|o| bounds(o, o["against"].as_str().unwrap_or("y"))).collect::<Result<_, _>>()?,
            None => vec![bounds(t, "y")?],
        };
        let number = |key: &str| match t.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(v) => v.as_f64().map(Some).ok_or_else(|| format!("its {key} is no number")),
        };
        Ok(Rules {
            any_of,
            channel_rel: number("channel_rel")?,
            log_max_abs: number("log_max_abs")?,
            channels_first: row["format"] == "onnx",
        })
    }

    /// Holds outputs `got[sample][output]` against the golden: per output what was measured against the alternative that
    /// fits best, and the bounds of that alternative.
    pub fn check(&self, golden: &Arrays, got: &[Vec<Array>]) -> (Vec<Measured>, Vec<f64>) {
        let outputs = got.first().map_or(0, Vec::len);
        let tries = self.any_of.iter().map(|bounds| {
            let measured: Vec<Measured> = (0..outputs).map(|j| self.output(bounds, golden, got, j)).collect();
            (measured, bounds.max_abs.clone())
        });
        tries.min_by_key(|(m, _)| m.iter().map(|m| m.complaints.len()).sum::<usize>()).unwrap_or_default()
    }

    fn output(&self, bounds: &Bounds, golden: &Arrays, got: &[Vec<Array>], j: usize) -> Measured {
        let mut m = Measured::default();
        let Some(&allowed) = bounds.max_abs.get(j) else {
            m.complaints.push(format!("the index has no bound for output {j}"));
            return m;
        };
        for (i, sample) in got.iter().enumerate() {
            let (name, got) = (format!("{}{i}_{j}", bounds.key), &sample[j]);
            let Some(want) = expected(golden, &name, got, &mut m) else { continue };
            let Some(worst) = differences(&name, got, want, &mut m) else { continue };
            if worst > allowed {
                m.complaints.push(format!("{name}: off by {worst:.3e}, allowed {allowed:.3e}"));
                continue;
            }
            if let Some(limit) = self.channel_rel {
                let r = channel_relative(got, want, self.channels_first);
                if r > limit {
                    m.complaints.push(format!("{name}: a channel is off by {r:.3e} of its own range, allowed {limit:.3e}"));
                }
            }
            if let Some(limit) = self.log_max_abs {
                let logs = got.values.iter().zip(&want.values).filter(|(_, w)| f64::from(**w) > 1e-12);
                let r = logs.map(|(&g, &w)| (f64::from(g).ln() - f64::from(w).ln()).abs());
                let r = r.fold(0.0, |a: f64, b| if b.is_nan() { f64::INFINITY } else { a.max(b) });
                if r > limit {
                    m.complaints.push(format!("{name}: logarithm off by {r:.3e}, allowed {limit:.3e}"));
                }
            }
        }
        m
    }
}

/// Holds output `j` against the arrays of the golden: `|got - want| <= atol + rtol * |want|` everywhere.
pub fn check_flat(golden: &Arrays, name: impl Fn(usize) -> String, got: &[Vec<Array>], j: usize, atol: f64, rtol: f64) -> Measured {
    let mut m = Measured::default();
    for (i, sample) in got.iter().enumerate() {
        let (name, got) = (name(i), &sample[j]);
        let Some(want) = expected(golden, &name, got, &mut m) else { continue };
        if differences(&name, got, want, &mut m).is_none() {
            continue;
        }
        let outside = |g: f64, w: f64| g != w && (w.is_infinite() || (g - w).abs() > atol + rtol * w.abs());
        let pairs = || got.values.iter().zip(&want.values).map(|(&g, &w)| (f64::from(g), f64::from(w)));
        let count = pairs().filter(|&(g, w)| outside(g, w)).count();
        if let Some((at, (g, w))) = pairs().enumerate().find(|&(_, (g, w))| outside(g, w)) {
            m.complaints.push(format!(
                "{name}: {count} of {} elements are outside; the first is number {at}, {g:.7e} where {w:.7e} is expected",
                got.values.len()
            ));
        }
    }
    m
}

/// The expected array, if it is there and of the right shape.
fn expected<'a>(golden: &'a Arrays, name: &str, got: &Array, m: &mut Measured) -> Option<&'a Array> {
    match golden.get(name) {
        None => m.complaints.push(format!("the golden has no {name}")),
        Some(want) if want.shape != got.shape => {
            m.complaints.push(format!("{name}: shape {:?}, expected is {:?}", got.shape, want.shape));
        }
        Some(want) => return Some(want),
    }
    None
}

/// The largest difference, noted in `m`; `None` (and a complaint) if numbers and not-numbers do not match.
fn differences(name: &str, got: &Array, want: &Array, m: &mut Measured) -> Option<f64> {
    let (mut worst, mut range) = (0f64, 0f64);
    for (i, (&g, &w)) in got.values.iter().zip(&want.values).enumerate() {
        let (g, w) = (f64::from(g), f64::from(w));
        if g.is_nan() != w.is_nan() {
            m.complaints.push(format!("{name}: element {i} is {g}, expected is {w}"));
            return None;
        }
        if w.is_finite() {
            range = range.max(w.abs());
        }
        if g != w && !w.is_nan() {
            worst = worst.max((g - w).abs());
        }
    }
    m.max_abs = m.max_abs.max(worst);
    if worst > 0.0 {
        m.relative = m.relative.max(worst / range.max(f64::MIN_POSITIVE));
    }
    Some(worst)
}

/// Largest difference of any channel as a share of the largest magnitude in it (or of a millionth of the whole's).
fn channel_relative(got: &Array, want: &Array, channels_first: bool) -> f64 {
    let rank = want.shape.len();
    if rank < 2 || want.values.is_empty() {
        return 0.0;
    }
    let axis = if channels_first { 1 } else { rank - 1 };
    let (channels, inner) = (want.shape[axis], want.shape[axis + 1..].iter().product::<usize>());
    let (mut range, mut off) = (vec![0f64; channels], vec![0f64; channels]);
    let number = |v: f32| if v.is_nan() { 0.0 } else { f64::from(v) };
    for (i, (&g, &w)) in got.values.iter().zip(&want.values).enumerate() {
        let c = i / inner % channels;
        range[c] = range[c].max(number(w).abs());
        off[c] = off[c].max((number(g) - number(w)).abs());
    }
    let floor = 1e-6 * range.iter().fold(1e-30, |a: f64, &b| a.max(b));
    range.iter().zip(&off).map(|(r, o)| o / r.max(floor)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn array(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), values: values.to_vec() }
    }

    fn golden(arrays: &[(&str, Array)]) -> Arrays {
        arrays.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect()
    }

    fn complaints(tolerance: Value, format: &str, golden: &Arrays, got: Array) -> usize {
        let rules = Rules::parse(&json!({ "tolerance": tolerance, "format": format })).unwrap();
        let (m, _) = rules.check(golden, &[vec![got]]);
        m.iter().map(|m| m.complaints.len()).sum()
    }

    #[test]
    fn max_abs_and_shape_and_nan() {
        let g = golden(&[("y0_0", array(&[1, 2], &[1.0, f32::NAN]))]);
        let t = json!({ "max_abs": [0.01] });
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[1, 2], &[1.005, f32::NAN])), 0);
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[1, 2], &[1.05, f32::NAN])), 1);
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[1, 2], &[1.0, 0.0])), 1);
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[2], &[1.0, f32::NAN])), 1);
        assert_eq!(complaints(t, "keras", &golden(&[]), array(&[1, 2], &[1.0, 0.0])), 1);
    }

    #[test]
    fn a_small_channel_counts_by_its_own_range() {
        let t = json!({ "max_abs": [1.0], "channel_rel": 0.01 });
        let g = golden(&[("y0_0", array(&[2, 2], &[100.0, 0.1, 90.0, 0.05]))]);
        let off = array(&[2, 2], &[100.0, 0.11, 90.0, 0.05]);
        assert_eq!(complaints(t.clone(), "keras", &g, off.clone()), 1);
        let g = golden(&[("y0_0", array(&[1, 2, 2], &[100.0, 90.0, 0.1, 0.05]))]);
        let off = array(&[1, 2, 2], &[100.0, 90.0, 0.11, 0.05]);
        assert_eq!(complaints(t.clone(), "onnx", &g, off.clone()), 1);
        assert_eq!(complaints(t, "keras", &g, off), 0);
    }

    #[test]
    fn logarithms_see_small_probabilities() {
        let t = json!({ "max_abs": [0.1], "log_max_abs": 0.01 });
        let g = golden(&[("y0_0", array(&[1, 2], &[1.0, 1e-6]))]);
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[1, 2], &[1.0, 1.001e-6])), 0);
        assert_eq!(complaints(t.clone(), "keras", &g, array(&[1, 2], &[1.0, 2e-6])), 1);
        assert_eq!(complaints(t, "keras", &g, array(&[1, 2], &[1.0, -1e-6])), 1);
    }

    #[test]
    fn one_of_several_references_is_enough() {
        let t = json!({ "any_of": [{ "against": "f", "max_abs": [0.01] }, { "against": "y", "max_abs": [0.01] }] });
        let g = golden(&[("y0_0", array(&[1], &[1.0])), ("f0_0", array(&[1], &[2.0]))]);
        for (v, n) in [(1.0, 0), (2.0, 0), (1.5, 1)] {
            assert_eq!(complaints(t.clone(), "keras", &g, array(&[1], &[v])), n);
        }
        assert!(Rules::parse(&json!({ "tolerance": { "any_of": [] } })).is_err(), "nothing would be held against anything");
    }

    #[test]
    fn flat_tolerances() {
        let g = golden(&[("y", array(&[3], &[1000.0, 0.0, f32::INFINITY]))]);
        let check = |v: &[f32]| check_flat(&g, |_| "y".into(), &[vec![array(&[3], v)]], 0, 1e-5, 1e-5).complaints.len();
        assert_eq!(check(&[1000.005, 5e-6, f32::INFINITY]), 0);
        assert_eq!(check(&[1000.05, 0.0, f32::INFINITY]), 1);
        assert_eq!(check(&[1000.0, 2e-5, f32::INFINITY]), 1);
        assert_eq!(check(&[1000.0, 0.0, 1.0]), 1);
    }

    #[test]
    fn rules_for_quantised_networks_are_refused() {
        assert!(Rules::parse(&json!({ "tolerance": { "max_steps": 4 } })).is_err());
    }
}
