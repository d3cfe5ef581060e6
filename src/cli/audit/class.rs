//! What kind of error it is, in words that no input can choose.

use std::fmt::Debug;
use std::io;

use microraptor::audit::AuditError;
use microraptor::engine::EngineError;
use microraptor::files::WriteError;
use microraptor::heads::HeadError;
use microraptor::input::InputError;
use microraptor::output::OutputError;
use microraptor::pipeline::PipelineError;
use microraptor::sign::SignError;

use crate::cli::attest::Differs;

/// The kind of the innermost error that is known, such as `input: Decode`; the message itself may name a file or hold
/// text from one.
pub fn class(error: &anyhow::Error) -> String {
    error.chain().filter_map(kind).last().unwrap_or_else(|| "other".into())
}

fn kind(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    macro_rules! of {
        ($($name:literal: $kind:ty),*) => {
            $(if let Some(error) = cause.downcast_ref::<$kind>() {
                return Some(format!("{}: {}", $name, variant(error)));
            })*
        };
    }
    if cause.is::<Differs>() {
        return Some("attestation".into());
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return Some(format!("system: {:?}", error.kind()));
    }
    of!("input": InputError, "head": HeadError, "model": EngineError, "answering": PipelineError,
        "output": OutputError, "file": WriteError, "audit log": AuditError,
        "signature": SignError);
    None
}

/// Name of the variant of an enum, which a derived `Debug` begins with.
fn variant(error: &impl Debug) -> String {
    format!("{error:?}").chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_class_has_nothing_of_the_message() {
        let name = std::path::PathBuf::from("/scans/DOE^JOHN.dcm");
        let decode = InputError::Decode { path: name.clone(), reason: "DOE".into() };
        assert_eq!(class(&decode.into()), "input: Decode");
        let system = Err::<(), _>(io::Error::new(io::ErrorKind::NotFound, "DOE")).context("DOE").unwrap_err();
        assert_eq!(class(&system), "system: NotFound");
        assert_eq!(class(&anyhow::anyhow!("{}", name.display())), "other");
    }
}
