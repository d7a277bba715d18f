//! What goes wrong, as an exit code and one block of text.

use super::out::{self, plain};
use sepal_converter::Error;
use sepal_converter::data::DataError;
use std::path::Path;
use std::process::ExitCode;

/// The command line makes no sense.
pub const USAGE: u8 = 1;
/// A file is damaged, or asks for what Sepal does not do.
pub const INVALID: u8 = 2;
/// Outputs differ from what they should be.
pub const VERIFICATION: u8 = 3;
/// The system refused to read or write.
pub const IO: u8 = 4;

/// Why a command ends early.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// A failure with one of the codes above. No message, no output.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }

    /// One of the codes above.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The reader of standard output has gone away: nothing more to do, and nothing wrong.
    pub fn closed() -> Self {
        Failure::new(0, "")
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(USAGE, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(INVALID, message)
    }

    pub fn io(path: &Path, e: &std::io::Error) -> Self {
        Failure::new(IO, format!("{}: {e}", path.display()))
    }

    /// What a conversion of `source` failed of.
    pub fn conversion(source: &Path, e: &Error) -> Self {
        let source = source.display();
        match e {
            Error::Io { path, source } => Failure::io(path, source),
            Error::Unsupported(all) => {
                let things = if all.len() == 1 { "1 thing is".into() } else { format!("{} things are", all.len()) };
                let mut text = format!("{source} cannot be converted: {things} not supported\n");
                for u in all {
                    text +=
                        &format!("\n  {} ({})\n    {}\n    {}\n", plain(&u.node), plain(&u.kind), plain(&u.what), plain(&u.remedy));
                }
                Failure::invalid(text)
            }
            Error::Verification(why) => Failure::new(
                VERIFICATION,
                format!(
                    "{source}: the self-check failed, nothing is written\n  {}\n  \
                     This is a fault of the converter, unless sums of the network nearly cancel: please report it. --no-verify leaves the check out.",
                    plain(why)
                ),
            ),
            Error::Inexact(why) => Failure::new(
                VERIFICATION,
                format!("{source}: the self-check failed, nothing is written\n  {}; --no-verify leaves the check out", plain(why)),
            ),
            Error::Request(why) => Failure::usage(format!("{source}: {}", plain(why))),
            Error::TooLarge(why) => {
                Failure::invalid(format!("{source} is too large to be compared with its conversion\n  {}", plain(why)))
            }
            Error::Invalid(why) => Failure::invalid(format!("{source} is not a network that can be read\n  {}", plain(why))),
            other => Failure::invalid(format!("{source}: {other}")),
        }
    }

    /// Prints the message on standard error and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            out::complain(&format!("error: {}\n", self.message.trim_end()));
        }
        ExitCode::from(self.code)
    }
}

impl From<DataError> for Failure {
    fn from(e: DataError) -> Self {
        let code = match e {
            DataError::Io { .. } => IO,
            DataError::Invalid { .. } => INVALID,
        };
        Failure::new(code, plain(&e.to_string()))
    }
}
