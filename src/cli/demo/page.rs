//! The gallery as an HTML page, in the style of the profile report that it links: valid XML, without scripts.

use std::fmt::Write;

use microraptor::heads::Evaluation;
use microraptor::output::{HEAT, colour};
use microraptor::profile::Results;
use microraptor::profile::report::{head, resolution, xml};

use super::Shown;
use super::gallery::Example;
use super::summary::{latency, scores};

/// Additions to the report's style sheet.
const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(shown: &Shown) -> String {
    let mut out = head("Microraptor: a demonstration", STYLE);
    opening(shown, &mut out);
    gallery(&shown.examples, &mut out);
    confusion(&shown.heads.class.judgement, &mut out);
    out.push_str(&resolution(shown.results).unwrap_or_default());
    let _ = writeln!(
        out,
        "<p><a href=\"report/report.html\">The whole report</a>: latency, operators, stages, and every number.</p>"
    );
    by_hand(shown.results, &mut out);
    out.push_str("</body>\n</html>\n");
    out
}

fn opening(shown: &Shown, out: &mut String) {
    let e = &shown.results.environment;
    let about = shown.engine.about();
    let _ = write!(
        out,
        "<h1>What frozen features find</h1>\n<p class=\"sub\">microraptor {} on {}; backbone {}, {} px</p>\n",
        xml(e.version),
        xml(&e.cpu),
        xml(&about.name),
        shown.size
    );
    if about.untrained {
        out.push_str(
            "<p class=\"warning\" role=\"note\">UNTRAINED: the weights of the backbone come from a seed. What the heads \
             find, they find in random features.</p>\n",
        );
    }
    out.push_str(
        "<p>Phantoms are pictures of a breast under ultrasound that the program makes itself, so that class and outline \
         are known: tissue alone (background), a cyst, or a mass. A head for the class and a head for the outline were \
         fitted on the features of the built-in backbone, whose weights stay as they are. All numbers and pictures are of \
         phantoms that neither head has seen; the backbone learned, without labels, from others of the same physics. They show \
         that the chain works, and say nothing about patients.</p>\n\
         <ul class=\"summary\">\n",
    );
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "<li><b>{}:</b> {}</li>", xml(name), xml(text));
    };
    line("Class of the image", &scores(&shown.heads.class.judgement));
    line("Outline of the lesion", &scores(&shown.heads.lesion.judgement));
    line("Latency of the backbone", &latency(shown.results, shown.size));
    out.push_str("</ul>\n");
}

fn gallery(examples: &[Example], out: &mut String) {
    let ink = |class| colour(class).map_or(String::new(), |[r, g, b]| format!("rgb({r},{g},{b})"));
    let _ = write!(
        out,
        "<h2>Held-out phantoms</h2>\n<p class=\"caption\">The picture, and over it the lesion that was \
         <span class=\"key\" style=\"background:{}\"></span> found and \
         <span class=\"key\" style=\"border:2px solid {}\"></span> is there. Bars: probability of each class. Below the picture, why the head says so: what each patch token adds to \
         the logit of the class, less the mean of what it adds to the others, with the range of the colours; with the CLS \
         token's term and the bias they sum to the logit exactly. A token has seen the whole picture, so this is no cause, \
         and no mask of a lesion.</p>\n\
         <div class=\"gallery\">\n",
        ink(1),
        ink(2)
    );
    examples.iter().for_each(|example| card(example, out));
    out.push_str("</div>\n");
}

fn card(example: &Example, out: &mut String) {
    let truth = xml(&example.truth);
    let [plain, masks, why] = example.pictures.each_ref().map(|path| xml(path));
    let [positive, negative] = HEAT.map(|[r, g, b]| format!("rgb({r},{g},{b})"));
    let mood = if example.class == example.truth { "good" } else { "bad" };
    let _ = write!(
        out,
        "<article class=\"card\">\n<div class=\"pair\"><img src=\"{plain}\" width=\"256\" height=\"256\" \
         alt=\"Phantom: {truth}\"/><img src=\"{masks}\" width=\"256\" height=\"256\" \
         alt=\"The same with the lesion that was found and the true one\"/>\
         <img src=\"{why}\" width=\"256\" height=\"271\" alt=\"The same with what each patch adds to the logit of the class\"/>\
         <p class=\"caption\">Why {}: <span class=\"key\" style=\"background:{positive}\"></span> patches that speak for it, \
         <span class=\"key\" style=\"background:{negative}\"></span> against it; full colour is {:.3}</p></div>\n\
         <p>{truth}; the head says <b class=\"{mood}\">{}</b></p>\n<dl>\n",
        xml(&example.class),
        example.scale,
        xml(&example.class)
    );
    for (class, p) in &example.probabilities {
        let _ = writeln!(
            out,
            "<dt>{}</dt><dd><span class=\"bar\"><span style=\"width:{:.1}%\"></span></span>{p:.3}</dd>",
            xml(class),
            100.0 * p
        );
    }
    let _ = writeln!(out, "</dl>\n<p class=\"caption\">{}</p>\n</article>", lesion(example));
}

/// Caption with the result of the lesion head.
fn lesion(example: &Example) -> String {
    match (example.dice, example.pixels) {
        (Some(_), 0) => "The lesion was missed".to_owned(),
        (Some(dice), _) => format!("Dice of the lesion {dice:.3}"),
        (None, 0) => "No lesion, and none found".to_owned(),
        (None, n) => format!("No lesion, and {n} px taken for one"),
    }
}

fn confusion(judgement: &Evaluation, out: &mut String) {
    let Evaluation::Classes(_, report) = judgement else { return };
    let Some(counts) = &report.confusion else { return };
    let names = || report.classes.iter().map(|class| xml(&class.class));
    out.push_str(
        "<h2>All held-out phantoms</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"l\" \
         scope=\"col\">truth \\ predicted</th>",
    );
    names().for_each(|name| {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    });
    out.push_str("</tr></thead>\n<tbody>\n");
    for (row, (name, counts)) in names().zip(counts).enumerate() {
        let _ = write!(out, "<tr><td class=\"l\">{name}</td>");
        for (column, n) in counts.iter().enumerate() {
            let class = match (row == column, n) {
                (true, _) => " class=\"good\"",
                (false, 0) => "",
                (false, _) => " class=\"bad\"",
            };
            let _ = write!(out, "<td{class}>{n}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// The commands that do the same, as a starting point.
fn by_hand(results: &Results, out: &mut String) {
    let mut sizes: Vec<String> = results.rows.iter().map(|row| row.size().to_string()).collect();
    sizes.dedup();
    let _ = writeln!(
        out,
        "<h2>The same by hand</h2>\n<p class=\"caption\">In the folder of this page; with images of your own in the place of \
         phantoms/labels.csv, and any model in the place of demo.</p>\n<pre><code>\
         microraptor train demo --data phantoms/labels.csv -o my-class.safetensors\n\
         microraptor train demo --data phantoms/labels.csv --head segment -o my-lesion.safetensors\n\
         microraptor predict demo --head class.safetensors --head lesion.safetensors phantoms/images --overlays overlays\n\
         microraptor profile demo --data phantoms/labels.csv --sizes {} -o my-report</code></pre>",
        xml(&sizes.join(","))
    );
}
