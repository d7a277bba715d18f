//! How pictures become numbers: as the command line says, else as the file does.

use super::failure::Failure;
use sepal::Model;
use sepal_converter::data::recipe::{Normalize, Recipe};
use sepal_converter::preprocessing;

/// The options of commands that read pictures.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Normalizing {
    /// How pictures become numbers [default: as the file says; 0..1 if it does not]
    #[arg(long, value_name = "MODE", allow_hyphen_values = true)]
    normalize: Option<Normalize>,
}

impl Normalizing {
    /// What is done with pictures for a model.
    pub fn of(&self, model: &Model) -> Result<Recipe, Failure> {
        let stored = stored(model)?.map(|p| p.recipe()).unwrap_or_default();
        Ok(match &self.normalize {
            None => stored,
            Some(normalize) => Recipe { normalize: normalize.clone(), ..stored },
        })
    }
}

/// What a file says about pictures.
pub fn stored(model: &Model) -> Result<Option<preprocessing::Preprocessing>, Failure> {
    preprocessing::Preprocessing::read(&model.view()).map_err(|e| Failure::invalid(format!("the file's preprocessing: {e}")))
}
