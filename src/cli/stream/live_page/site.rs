//! The page and its events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::shared::{MAX_VIEWERS, Shared};
use super::token::Token;
use crate::cli::stream::web::{Client, Machine, Reply, Request, Site};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A viewer hears something at least so often; the page takes four times as long for a lost connection.
const BEAT: Duration = Duration::from_millis(500);

/// From one message to the next: 25 a second are enough.
const PAUSE: Duration = Duration::from_millis(40);

/// A viewer must take a message within this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is served.
pub struct Pages {
    shared: Arc<Shared>,
    token: Option<Token>,
    page: String,
    policy: String,
    machine: Arc<Machine>,
}

impl Pages {
    pub fn new(shared: Arc<Shared>, token: Option<Token>) -> Pages {
        let page = HTML.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text));
        // Nothing is loaded from anywhere, and nothing runs but the page's own script.
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(SCRIPT),
            digest(STYLE)
        );
        Pages { shared, token, page, policy, machine: Arc::default() }
    }

    fn page(&self) -> Reply {
        let fields = vec![
            ("Content-Security-Policy", self.policy.clone()),
            ("Referrer-Policy", "no-referrer".into()),
            ("X-Frame-Options", "DENY".into()),
            ("Cross-Origin-Opener-Policy", "same-origin".into()),
            ("Cross-Origin-Resource-Policy", "same-origin".into()),
        ];
        Reply::Whole { status: 200, kind: "text/html; charset=utf-8", fields, body: self.page.clone().into() }
    }
}

impl Site for Pages {
    fn answer(&self, request: &Request) -> Reply {
        let given = request.value("token").unwrap_or_default();
        if self.token.as_ref().is_some_and(|token| !token.is(given)) {
            return Reply::text(
                403,
                "the URL lacks the secret: take it from the line \"listening\" of the program\n",
            );
        }
        match request.path.as_str() {
            "/" => self.page(),
            "/events" if self.shared.lock().viewers >= MAX_VIEWERS => {
                Reply::text(503, format!("{MAX_VIEWERS} others are looking already\n"))
            }
            "/events" => {
                let (shared, machine) = (self.shared.clone(), self.machine.clone());
                let explains = request.value("explain") == Some("1");
                Reply::Events(Box::new(move |client| tell(client, &shared, &machine, explains)))
            }
            _ => Reply::text(404, "there is nothing here: the page is at /\n"),
        }
    }
}

/// Tells a viewer everything, as Server-Sent Events (WHATWG HTML, 9.2), until it is gone.
fn tell(client: &mut Client, shared: &Shared, machine: &Machine, explains: bool) -> io::Result<()> {
    let Some((_viewer, mut seen)) = shared.enter(explains) else { return Ok(()) };
    loop {
        let (told, last) = shared.next(&mut seen, BEAT);
        let message = format!("data: {told},\"machine\":{}}}\n\n", described(machine));
        client.send(message.as_bytes(), PATIENCE)?;
        if last {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn described(machine: &Machine) -> Value {
    let reading = machine.read();
    let hottest = reading.temperatures.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius));
    json!({ "resident": reading.resident, "hottest": hottest })
}
