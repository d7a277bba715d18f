//! What the source gives in f64: computed once for all the conversions that are held against it.

use super::{Progress, Stage};
use crate::error::Result;
use crate::interp::{self, MOST_ELEMENTS};
use crate::ir::{Graph, ValueId};
use std::collections::HashMap;

/// What a source makes of some inputs.
pub(super) struct Reference {
    /// Its outputs.
    pub(super) want: Vec<Vec<f64>>,
    /// The first value that f32 does not hold.
    pub(super) overflow: Option<ValueId>,
    rounded: Option<Vec<Vec<f64>>>,
}

impl Reference {
    /// Interprets the source.
    ///
    /// # Errors
    /// As [`interp::interpret`].
    pub(super) fn of(source: &Graph, inputs: &[Vec<f32>], progress: &mut dyn Progress) -> Result<Reference> {
        let (mut done, mut overflow) = (0, None);
        let want = interp::interpret_observed(source, wide(inputs), &mut |v, values| {
            done += 1;
            progress.steps(done, source.nodes.len());
            if overflow.is_none() && values.iter().any(|x| x.is_nan() || x.abs() > f64::from(f32::MAX)) {
                overflow = Some(v);
            }
        })?;
        Ok(Reference { want, overflow, rounded: None })
    }

    /// How far output `i` is moved where all of the source's tensors are rounded to f32.
    ///
    /// # Errors
    /// As [`Reference::of`].
    pub(super) fn moved(
        &mut self,
        source: &Graph,
        inputs: &[Vec<f32>],
        i: usize,
        progress: &mut dyn Progress,
    ) -> Result<Option<f64>> {
        if self.rounded.is_none() {
            progress.stage(Stage::SelfCheck);
            let mut done = 0;
            let all = interp::interpret_rounded(source, wide(inputs), &mut || {
                done += 1;
                progress.steps(done, source.nodes.len());
            })?;
            self.rounded = Some(all);
        }
        let rounded = self.rounded.as_ref().and_then(|all| all.get(i));
        Ok(rounded.map(|all| super::farthest(all, &self.want[i])))
    }

    fn elements(&self) -> usize {
        self.want.iter().chain(self.rounded.iter().flatten()).map(Vec::len).sum()
    }
}

fn wide(inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    inputs.iter().map(|x| x.iter().copied().map(f64::from).collect()).collect()
}

/// The references of a file's plans.
#[derive(Default)]
pub(super) struct References {
    plans: HashMap<usize, Reference>,
    /// The source of the first plan.
    pub(super) first: Option<Graph>,
}

impl References {
    /// That of a plan, for which the inputs are always the same.
    pub(super) fn take(&mut self, plan: usize) -> Option<Reference> {
        self.plans.remove(&plan)
    }

    /// Keeps it, as far as memory allows: otherwise it is computed again.
    pub(super) fn keep(&mut self, plan: usize, reference: Reference) {
        let kept: usize = self.plans.values().map(Reference::elements).sum();
        if kept.saturating_add(reference.elements()) <= MOST_ELEMENTS / 2 {
            self.plans.insert(plan, reference);
        }
    }
}
