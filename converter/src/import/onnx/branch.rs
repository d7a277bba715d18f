//! If whose condition is known: the nodes of its branch take its place.

use super::builder::{Builder, Slot, node, resolve};
use super::fail::{Fail, Res, bad, unsupported};
use super::node::Operand;
use super::order;
use super::proto::{Attribute, Graph, Node, ValueInfo};
use super::tensor::{Const, Data};
use crate::import::MAX_NAME;
use std::collections::{HashMap, HashSet};

/// Branches within branches, beyond which nobody goes.
pub(super) const MOST_DEPTH: usize = 16;

/// The results of the branch that the condition takes; `None` when the condition is unknown.
pub(super) fn inline<'a>(b: &mut Builder<'a, '_>, n: &Node<'a>, name: &str) -> Res<Option<Vec<Operand>>> {
    let Some(&condition) = n.inputs.first() else { return bad("the condition is missing") };
    let taken = match resolve(b, condition)? {
        None => return Ok(None),
        Some(Operand::Const { value: Const { data: Data::Int(v), .. }, .. }) if v.len() == 1 => v[0] != 0,
        Some(Operand::Runtime(_)) => {
            return unsupported("the condition is computed at run time", super::ops::remedy("If"));
        }
        Some(_) => return bad("the condition is not one truth value"),
    };
    let wanted = if taken { "then_branch" } else { "else_branch" };
    let attributes = n.attributes.iter().map(|&a| Attribute::parse(a)).collect::<Result<Vec<_>, _>>()?;
    let Some(bytes) = attributes.iter().find(|a| a.name == wanted).and_then(|a| a.g) else {
        return bad(format!("attribute {wanted} is missing"));
    };
    let sub = Graph::parse(bytes)?;
    if !sub.inputs.is_empty() || sub.outputs.len() != n.outputs.len() {
        return bad(format!("attribute {wanted} has {} inputs and {} outputs", sub.inputs.len(), sub.outputs.len()));
    }
    if sub.sparse_initializers {
        return unsupported("sparse initializers", "store them as dense tensors");
    }
    b.depth += 1;
    if b.depth > MOST_DEPTH {
        return unsupported("branches within branches", format!("at most {MOST_DEPTH}"));
    }
    let before = b.graph.values.len();
    let results = run(b, &sub, name);
    b.depth -= 1;
    let results = results?;
    for (r, &o) in results.iter().zip(&n.outputs) {
        if let Operand::Runtime(v) = r
            && v.0 >= before
            && !o.is_empty()
        {
            b.graph.values[v.0].name = o.to_string();
        }
    }
    Ok(Some(results))
}

/// Computes a graph that sees the names around it. Its own names are forgotten when it ends.
fn run<'a>(b: &mut Builder<'a, '_>, sub: &Graph<'a>, name: &str) -> Res<Vec<Operand>> {
    let outputs: Vec<&'a str> = sub.outputs.iter().map(|o| o.name).collect();
    let order = order::live_order(sub, &outputs, &|v| b.slots.contains_key(v)).map_err(Fail::Error)?;
    let own: HashSet<&'a str> = sub
        .initializers
        .iter()
        .map(|(v, _)| *v)
        .chain(order.iter().flat_map(|&i| sub.nodes[i].outputs.iter().copied()))
        .filter(|v| !v.is_empty())
        .collect();
    let hidden: Vec<(&'a str, Option<Slot<'a>>)> = own.iter().map(|&v| (v, b.slots.remove(v))).collect();
    // Another branch may have another weight of that name.
    let forget = |b: &mut Builder<'a, '_>| {
        for &v in &own {
            b.weights.remove(v);
        }
    };
    forget(b);
    b.used.extend(outputs.iter().copied());
    for &i in &order {
        b.used.extend(order::reads(&sub.nodes[i], 0).map_err(Fail::Error)?);
    }
    b.slots.extend(sub.initializers.iter().map(|&(v, bytes)| (v, Slot::Initializer(bytes))));
    let known: HashMap<&str, &ValueInfo<'_>> = sub.value_info.iter().chain(&sub.outputs).map(|v| (v.name, v)).collect();
    for &i in &order {
        let path = format!("{name}/{}", order::label(sub, i));
        if path.len() > MAX_NAME {
            return bad(format!("a node within branches has a name of {} bytes; shorten it to {MAX_NAME}", path.len()));
        }
        let inner = b.own_name(path, i);
        node(b, &sub.nodes[i], &inner, &known).map_err(Fail::Error)?;
    }
    let results = outputs.iter().map(|&v| Ok(resolve(b, v)?.unwrap_or(Operand::None))).collect::<Res<Vec<_>>>();
    forget(b);
    for (v, slot) in hidden {
        match slot {
            Some(s) => drop(b.slots.insert(v, s)),
            None => drop(b.slots.remove(v)),
        }
    }
    results
}
