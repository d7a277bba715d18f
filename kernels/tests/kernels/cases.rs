use sepal_testing::cases::CASES;
use sepal_testing::layer::Layer;
use sepal_testing::{Threads, assert_same, each_isa, one_of};
use std::collections::BTreeSet;

#[test]
fn layers_of_well_known_networks() {
    for case in CASES.iter().step_by(one_of()).map(|c| c.reduced()) {
        let layer = Layer::new(case);
        let want = layer.reference();
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let (mut got, mut scratch) = (layer.output(), layer.scratch(parts));
                layer.run(isa, &Threads(parts), &mut got, &mut scratch);
                assert_same(&got, &want, (isa, parts, case));
                got.assert_gaps_untouched();
            }
        });
    }
}

#[test]
fn names_tell_cases_apart() {
    let names: BTreeSet<String> = CASES.iter().map(|c| c.name()).collect();
    assert_eq!(names.len(), CASES.len());
}
