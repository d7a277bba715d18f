//! Which inputs the plans of a file change.

use super::write::*;
use crate::error::Error;
use crate::import::{Options, import_bytes};
use crate::plans::{Vary, product, read};

type Shapes = Vec<Vec<usize>>;

/// The shapes of the inputs in each plan, and those that provenance has of them.
fn plans(source: &[u8], lists: &[&str], given: &[(&str, &[usize])]) -> Result<Vec<Shapes>, Error> {
    let wanted = product(&lists.iter().map(|list| list.parse::<Vary>().unwrap()).collect::<Vec<_>>());
    let input_shapes = given.iter().map(|(name, dims)| ((*name).to_string(), dims.to_vec())).collect();
    let options = Options { input_shapes, ..Options::default() };
    let plans = read(&wanted, &options, |o| import_bytes(source, None, o))?;
    let shapes = |p: &crate::plans::Planned| -> Shapes { p.graph.inputs.iter().map(|&v| p.graph.shape(v).to_vec()).collect() };
    for p in &plans {
        assert_eq!(shapes(p), p.import.input_shapes.iter().map(|(_, s)| s.clone()).collect::<Shapes>());
    }
    Ok(plans.iter().map(shapes).collect())
}

/// Two inputs, multiplied.
fn pair(x: &[i64], m: &[i64]) -> Vec<u8> {
    model(17, &[value("x", x), value("m", m)], &[], &[node("Mul", &["x", "m"], &["y"], &[])], &["y"])
}

fn refused(source: &[u8], lists: &[&str], given: &[(&str, &[usize])]) -> String {
    match plans(source, lists, given) {
        Err(Error::Request(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_that_of_inputs_that_leave_it_open() {
    // A bias, a table and a number have none, nor has what the source fixes beside something open.
    for m in [&[1, 4][..], &[4], &[1], &[]] {
        let fixed: Vec<usize> = m.iter().map(|&d| d as usize).collect();
        let got = plans(&pair(&[-1, 4], m), &["batch=3,1"], &[]).unwrap();
        assert_eq!(got, [vec![vec![3, 4], fixed.clone()], vec![vec![1, 4], fixed]]);
    }
    // Nothing is open: what has a batch has the same.
    let got = plans(&pair(&[1, 3, 8, 8], &[8]), &["batch=4"], &[]).unwrap();
    assert_eq!(got, [[vec![4, 3, 8, 8], vec![8]]]);
    let got = plans(&pair(&[1, 4], &[1, 4]), &["batch=4"], &[]).unwrap();
    assert_eq!(got, [[[4, 4], [4, 4]]]);
    let both = pair(&[1, 3, 8, 8], &[8, 8]);
    let why = refused(&both, &["batch=4"], &[]);
    assert!(why.contains("plan batch=4") && why.contains("m [8, 8]") && why.contains("--input-shape"), "{why}");
    assert_eq!(plans(&both, &["batch=4"], &[("m", &[8, 8])]).unwrap(), [[vec![4, 3, 8, 8], vec![8, 8]]]);
    assert!(refused(&pair(&[4], &[4]), &["batch=4"], &[]).contains("no input is known to have a batch"));
}

#[test]
fn a_symbol_is_one_extent() {
    let inputs = [value("x", &[-1, 4]), value("h", &[1, -1, 4])];
    let both = model(17, &inputs, &[], &[node("Add", &["x", "h"], &["y"], &[])], &["y"]);
    assert_eq!(plans(&both, &["batch=1,3"], &[]).unwrap(), [[vec![1, 4], vec![1, 1, 4]], [vec![3, 4], vec![1, 3, 4]]]);
    let why = refused(&both, &["batch=1,3"], &[("h", &[1, 1, 4])]);
    assert!(why.contains("plan batch=3") && why.contains("\"d1\" both") && why.contains("h [1, 1, 4]"), "{why}");
    let square = model(17, &[value("x", &[-1, -1])], &[], &[node("Relu", &["x"], &["y"], &[])], &["y"]);
    assert!(matches!(plans(&square, &[], &[]), Err(Error::Unsupported(all)) if all[0].what.contains("axis 1")));
}

#[test]
fn what_is_no_name_is_any_extent() {
    let picture: &[i64] = &[OPEN, 3, OPEN, OPEN];
    let one = model(17, &[value("x", picture)], &[], &[node("Relu", &["x"], &["y"], &[])], &["y"]);
    assert_eq!(plans(&one, &[], &[("x", &[1, 3, 48, 192])]).unwrap(), [[[1, 3, 48, 192]]]);
    assert_eq!(plans(&one, &["batch=1,2", "size=48x192"], &[]).unwrap(), [[[1, 3, 48, 192]], [[2, 3, 48, 192]]]);
    let relus = [node("Relu", &["x"], &["y"], &[]), node("Relu", &["m"], &["z"], &[])];
    let two = model(17, &[value("x", picture), value("m", picture)], &[], &relus, &["y", "z"]);
    let shapes: [&[usize]; 2] = [&[1, 3, 48, 192], &[2, 3, 8, 8]];
    assert_eq!(plans(&two, &[], &[("x", shapes[0]), ("m", shapes[1])]).unwrap(), [shapes]);
    // A name that stands twice in one input does not forbid what is asked for, and is told.
    let square = model(17, &[value("x", &[-1, 3, -2, -2])], &[], &[node("Relu", &["x"], &["y"], &[])], &["y"]);
    assert_eq!(plans(&square, &["size=16x24"], &[]).unwrap(), [[[1, 3, 16, 24]]]);
    let options = Options { input_shapes: vec![("x".into(), vec![1, 3, 16, 24])], ..Options::default() };
    let notes = import_bytes(&square, None, &options).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("'d2'"), "{notes:?}");
}

#[test]
fn a_named_input_keeps_its_shape_if_another_can_vary() {
    let both = pair(&[-1, 4], &[-2]);
    assert_eq!(plans(&both, &["batch=4,1"], &[("m", &[4])]).unwrap(), [[vec![4, 4], vec![4]], [vec![1, 4], vec![4]]]);
    // Both are named: a list of numbers stays.
    assert_eq!(plans(&both, &["batch=2"], &[("m", &[4]), ("x", &[1, 4])]).unwrap(), [[vec![2, 4], vec![4]]]);
    // The only one that could vary, and the name of its batch is another's, too.
    let one = model(17, &[value("x", &[-1, 2, -2, -3])], &[], &[node("Relu", &["x"], &["y"], &[])], &["y"]);
    for name in ["", "x"] {
        let got = plans(&one, &["batch=1,4"], &[(name, &[1, 2, 5, 6])]).unwrap();
        assert_eq!(got, [[[1, 2, 5, 6]], [[4, 2, 5, 6]]]);
    }
    let same = pair(&[-1, 4], &[-1, 4]);
    assert_eq!(plans(&same, &["batch=1,4"], &[("x", &[3, 4])]).unwrap(), [[[1, 4], [1, 4]], [[4, 4], [4, 4]]]);
}

#[test]
fn a_size_is_that_of_inputs_that_leave_it_open() {
    let open = pair(&[1, 3, -1, -2], &[1, 3, 1, 1]);
    assert_eq!(plans(&open, &["size=4,5x6"], &[]).unwrap(), [[[1, 3, 4, 4], [1, 3, 1, 1]], [[1, 3, 5, 6], [1, 3, 1, 1]]]);
    // Rows and columns are where two extents are open, also where nothing else tells of a picture.
    let wide = pair(&[-1, 7, -2, -3], &[7, 1, 1]);
    let got = plans(&wide, &["size=4,5x6", "batch=2"], &[]).unwrap();
    assert_eq!(got, [[vec![2, 7, 4, 4], vec![7, 1, 1]], [vec![2, 7, 5, 6], vec![7, 1, 1]]]);
    let fixed = pair(&[1, 3, 8, 8], &[1, 3, 1, 1]);
    assert!(refused(&fixed, &["size=4"], &[]).contains("rows and columns"));
    assert_eq!(plans(&fixed, &["size=4"], &[("m", &[1, 3, 1, 1])]).unwrap(), [[[1, 3, 4, 4], [1, 3, 1, 1]]]);
}
