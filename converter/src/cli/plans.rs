//! Which of a file's plans a command is about.

use super::engine::{self, Port};
use super::failure::{Failure, INVALID};
use super::out;
use sepal::Model;
use sepal_converter::plans::{Vary, Wanted, product, rows_and_columns};

/// The option of commands that run a file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PlanArg {
    /// Which of several plans: number, batch=B or size=HxW [default: the first that fits]
    #[arg(long, value_name = "PLAN", value_parser = choice)]
    plan: Option<Choice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Number(usize),
    Inputs(Wanted),
}

fn choice(s: &str) -> Result<Choice, String> {
    if let Ok(n) = s.parse() {
        return Ok(Choice::Number(n));
    }
    let parts = s.split(',').map(str::parse).collect::<Result<Vec<Vary>, _>>();
    let parts = parts.map_err(|_| "a number, batch=4, size=224x320, or batch=4,size=224 is needed")?;
    product(&parts).first().map(|&w| Choice::Inputs(w)).ok_or_else(|| "a number or batch=4 is needed".into())
}

impl PlanArg {
    /// The plan that was asked for, if one was.
    pub fn asked<'m>(&self, model: &Model<'m>) -> Result<Option<Model<'m>>, Failure> {
        let Some(choice) = &self.plan else { return Ok(None) };
        let found = match choice {
            Choice::Number(n) => model.plan(*n),
            Choice::Inputs(wanted) => model.plans().find(|plan| has(plan, *wanted)),
        };
        let text = match choice {
            Choice::Number(n) => n.to_string(),
            Choice::Inputs(wanted) => wanted.to_string(),
        };
        found.map(Some).ok_or_else(|| Failure::usage(format!("--plan {text}: the file has {}", list(model))))
    }

    /// The plan that was asked for, or the first.
    pub fn or_first<'m>(&self, model: Model<'m>) -> Result<Model<'m>, Failure> {
        Ok(self.asked(&model)?.unwrap_or(model))
    }

    /// The plans that were asked for, or all.
    pub fn or_all<'m>(&self, model: &Model<'m>) -> Result<Vec<Model<'m>>, Failure> {
        Ok(self.asked(model)?.map_or_else(|| model.plans().collect(), |plan| vec![plan]))
    }

    /// The plan that was asked for, or the first one that `read` can read inputs for, with what it read.
    pub fn fitting<'m, T>(
        &self,
        model: Model<'m>,
        read: impl Fn(&Model<'m>) -> Result<T, Failure>,
    ) -> Result<(Model<'m>, T), Failure> {
        if let Some(plan) = self.asked(&model)? {
            return read(&plan).map(|inputs| (plan, inputs));
        }
        let mut why = None;
        for plan in model.plans() {
            match read(&plan) {
                Ok(inputs) => return Ok((plan, inputs)),
                // Another shape does not help what cannot be read at all.
                Err(e) if e.code() != INVALID || model.plans().len() == 1 => return Err(e),
                Err(e) => why = why.or(Some(e)),
            }
        }
        let why = why.map_or(String::new(), |e| format!("\n  as for plan 0: {}", e.message()));
        Err(Failure::invalid(format!("the input fits none of the plans of the file, which has {}{why}", list(&model))))
    }
}

/// Whether a plan's inputs are of this batch and size: all those that differ among the plans of the file, or any if none does.
fn has(plan: &Model, wanted: Wanted) -> bool {
    let is = |wanted: &dyn Fn(&Port) -> bool, same: &dyn Fn(&Port, &Port) -> bool| {
        let ports = engine::inputs(plan);
        let others: Vec<Vec<Port>> = plan.plans().map(|p| engine::inputs(&p)).collect();
        let varies = |i: usize| others.iter().any(|other| other.get(i).is_none_or(|p| !same(p, &ports[i])));
        let varying: Vec<&Port> = (0..ports.len()).filter(|&i| varies(i)).map(|i| &ports[i]).collect();
        if varying.is_empty() { ports.iter().any(wanted) } else { varying.into_iter().all(wanted) }
    };
    let batch = wanted.batch.is_none_or(|n| is(&|p| p.dims.first() == Some(&n), &|a, b| a.dims.first() == b.dims.first()));
    batch && wanted.size.is_none_or(|size| is(&|p| sides(p) == Some(size), &|a, b| sides(a) == sides(b)))
}

/// Rows and columns of an input.
fn sides(p: &Port) -> Option<[usize; 2]> {
    let layout = match p.layout {
        "NHWC" => 1,
        "NCHW" => 2,
        _ => 0,
    };
    rows_and_columns(layout, &p.dims).map(|axes| axes.map(|a| p.dims[a]))
}

/// What the inputs of a plan are, in a few words.
pub fn inputs(plan: &Model) -> String {
    let all: Vec<String> =
        engine::inputs(plan).iter().map(|p| format!("{} {}", out::plain(&p.name), out::shape(&p.dims))).collect();
    all.join(", ")
}

/// The plans of a file, for a message.
fn list(model: &Model) -> String {
    let all: Vec<String> = model.plans().map(|plan| format!("plan {} for {}", plan.plan_number(), inputs(&plan))).collect();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_by_number_and_by_what_they_take() {
        assert_eq!(choice("2"), Ok(Choice::Number(2)));
        assert_eq!(choice("batch=4,size=7x9"), Ok(Choice::Inputs(Wanted { batch: Some(4), size: Some([7, 9]) })));
        for bad in ["", "x", "batch", "batch=4,5", "-1"] {
            assert!(choice(bad).is_err(), "{bad}");
        }
    }
}
