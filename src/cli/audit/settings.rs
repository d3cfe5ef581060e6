//! The options of a command, for its audit log.

use std::any::TypeId;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};
use microraptor::board::{CpuList, Signal};
use microraptor::heads::Activation;
use microraptor::input::{Axis, Matrix, Range, Region, StreamFormat, Window};
use microraptor::live::{Policy, Turn};
use microraptor::vit::Size;
use serde_json::{Map, Value, json};

use crate::cli::args::{Address, AuditSync, Cli, Deadline, OnFull, OnStall, Rate, Wanted};
use crate::cli::limits::{Bytes, Seconds};

/// The options that this process was started with, by their names, with their values. Of an option whose value may name
/// a file, and so a patient, there is `null`: it was given.
pub fn given() -> Value {
    let mut command = Cli::command();
    command.build();
    let Ok(matches) = command.try_get_matches_from_mut(std::env::args_os()) else { return json!({}) };
    let Some((name, matches)) = matches.subcommand() else { return json!({}) };
    let Some(command) = command.find_subcommand(name) else { return json!({}) };
    let mut given = Map::new();
    for argument in command.get_arguments().filter(|argument| is_given(matches, argument.get_id().as_str())) {
        let kind = argument.get_value_parser().type_id();
        let values = if harmless().iter().any(|harmless| kind == *harmless) {
            values(matches, argument.get_id().as_str())
        } else {
            Value::Null
        };
        given.insert(argument.get_id().to_string(), values);
    }
    given.into()
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let given = [ValueSource::CommandLine, ValueSource::EnvVariable];
    matches!(matches.try_contains_id(id), Ok(true))
        && matches.value_source(id).is_some_and(|source| given.contains(&source))
}

fn values(matches: &ArgMatches, id: &str) -> Value {
    let raw = matches.get_raw(id).into_iter().flatten();
    let mut texts: Vec<Value> = raw.map(|value| value.to_string_lossy().into_owned().into()).collect();
    match texts.len() {
        0 => json!(true),
        1 => texts.remove(0),
        _ => texts.into(),
    }
}

/// Types of values in which there is no free text: numbers, choices, sizes, addresses.
fn harmless() -> Vec<TypeId> {
    macro_rules! types {
        ($($kind:ty),* $(,)?) => { vec![$(TypeId::of::<$kind>()),*] };
    }
    #[cfg_attr(
        not(any(feature = "igtl", feature = "node")),
        expect(unused_mut, reason = "these features have more")
    )]
    let mut types = types![
        bool,
        u8,
        u16,
        u32,
        u64,
        usize,
        f64,
        Seconds,
        Bytes,
        Policy,
        OnStall,
        Rate,
        Wanted,
        Deadline,
        Turn,
        Region,
        Address,
        StreamFormat,
        Matrix,
        Range,
        Window,
        Axis,
        Activation,
        Size,
        CpuList,
        Signal,
        OnFull,
        AuditSync,
    ];
    #[cfg(feature = "igtl")]
    types.extend(types![crate::cli::args::IgtlSend]);
    // Titles and addresses of programs.
    #[cfg(feature = "node")]
    types.extend(types![
        microraptor::node::AeTitle,
        microraptor::node::Destination,
        std::net::IpAddr,
        std::time::Duration
    ]);
    types
}
