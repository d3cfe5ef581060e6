//! A worker, from inside: `microraptor jpeg2000`.

use std::io::{self, Write};
use std::process::ExitCode;

use microraptor::input::decode_codestream;

use super::confine::confine;
use super::wire::{self, Request};
use crate::cli::args::Jpeg2000Args;

/// Answers requests until standard input ends. Nothing is printed: the program explains what happened.
pub fn run(args: &Jpeg2000Args) -> ExitCode {
    #[cfg(debug_assertions)]
    let fault = super::faults::wanted();
    let granted = confine(args.memory, args.seconds);
    let (mut from, mut out) = (io::stdin().lock(), io::stdout().lock());
    let mut work = || -> io::Result<()> {
        wire::greet(&mut out, granted)?;
        while let Some(request) = Request::read(&mut from)? {
            #[cfg(debug_assertions)]
            if let Some(fault) = &fault {
                wire::answer(&mut out, &super::faults::commit(fault))?;
                continue;
            }
            wire::answer(&mut out, &decode_codestream(&request.codestream()))?;
        }
        out.flush()
    };
    if work().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
