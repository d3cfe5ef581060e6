'use strict';
// Shows what the program tells. Picture, mask and numbers that stand beside each other are of one frame.

const STALE_MS = 2000; // A picture that is older is shown as old.
const KEPT = 60; // Pictures to step through while paused.
const SPAN = 10; // Seconds in a strip.
const MOST = 8; // Classes with a bar.

const at = (id) => document.getElementById(id);
const ink = (i) => getComputedStyle(document.documentElement).getPropertyValue('--s' + (i % 8));
const now = () => performance.now();

let told = null; // The newest message.
let heard = now(); // When it came.
let connected = false;
let renewed = -Infinity; // When the newest picture came.
let pictures = []; // The last ones, oldest first: {said, jpeg, mask, width, height, came}.
let place = 0; // Which of them is shown while paused.
let paused = false;
let masks = true;
let explains = false; // Whether the program is asked why.
let events = null; // The connection.
let lines = []; // Frames of the last seconds.
let cards = []; // One for each head.

// -- What comes

function listen() {
  const query = new URLSearchParams(location.search);
  if (explains) query.set('explain', '1');
  if (events) events.close();
  events = new EventSource('events?' + query);
  const own = events;
  events.onmessage = (event) => take(JSON.parse(event.data));
  events.onerror = () => {
    connected = false;
    if (own === events && own.readyState === EventSource.CLOSED) setTimeout(() => own === events && listen(), 3000);
    status();
  };
}

function take(message) {
  told = message.told;
  heard = now();
  connected = true;
  for (const line of message.lines) lines.push(line);
  const newest = lines.length ? lines[lines.length - 1].exposed : 0;
  lines = lines.filter((line) => line.exposed > newest - SPAN).slice(-2000);
  if (message.picture) {
    renewed = heard;
    pictures.push({ ...message.picture, came: heard });
    // What is looked at stays.
    if (pictures.length > KEPT && !(paused && place === 0)) {
      pictures.shift();
      if (paused) place -= 1;
    } else if (pictures.length > KEPT) {
      pictures.splice(-2, 1);
    }
    if (!paused) show(pictures[pictures.length - 1]);
    fresh();
  }
  general(message);
  status();
}

// Starts the fading of picture and answers anew.
function fresh() {
  const list = at('main').classList;
  const b = list.contains('a');
  list.toggle('a', !b);
  list.toggle('b', b);
}

// -- One frame

function show(picture) {
  const said = picture.said;
  at('picture').src = 'data:image/jpeg;base64,' + picture.jpeg;
  at('picture').hidden = false;
  at('mask').hidden = !picture.mask;
  if (picture.mask) at('mask').src = 'data:image/png;base64,' + picture.mask;
  because(picture);
  at('number').textContent = said.frame;
  at('size').textContent = picture.width + ' × ' + picture.height + ' px';
  at('age').textContent = said.ms.age.toFixed(1);
  at('late').hidden = !said.late;
  at('backbone').textContent = said.ms.backbone.toFixed(1);
  at('headtime').textContent = said.ms.head.toFixed(1);
  // An answer that is withheld leaves nothing of the one before.
  const heads = said.heads;
  if (heads.length === 0) cards.forEach((card) => card.clear('withheld: ' + said.withheld));
  if (heads.length && heads.map((h) => h.head).join('/') !== cards.map((c) => c.name).join('/')) {
    cards = heads.map((head, i) => new Card(head, i));
    at('heads').replaceChildren(...cards.map((card) => card.element));
  }
  heads.forEach((head, i) => cards[i].set(head));
}

// The map of what each patch adds, and what its colours mean.
function because(picture) {
  const drawn = explains && picture.heat;
  at('heat').hidden = !drawn;
  at('legend').hidden = !explains;
  if (!explains) return;
  at('legend').firstElementChild.hidden = !drawn;
  if (!drawn) return write(at('legendtext'), 'No head here has a map: only logits that are sums over patches have one (linear, volume, abmil).');
  at('heat').src = 'data:image/png;base64,' + picture.heat;
  const head = picture.said.heads.find((head) => head.explanation && head.explanation.scale !== undefined);
  const { class: name, against, against_others: others, scale } = head.explanation;
  const [negative, positive] = picture.said.heat;
  at('ramp').style.background = 'linear-gradient(90deg, ' + negative + ', #6e6e6e, ' + positive + ')';
  const other = against ? against : others ? 'other classes' : 'not ' + name;
  write(at('least'), other + ' −' + scale.toPrecision(2));
  write(at('most'), '+' + scale.toPrecision(2) + ' ' + name);
  write(at('legendtext'), 'What each patch token adds to the logit of ' + head.head + ', exactly. A token has seen the whole picture: this is no cause, and no mask of a finding.');
}

function make(kind, type, text) {
  const element = document.createElement(kind);
  if (type) element.className = type;
  if (text !== undefined) element.textContent = text;
  return element;
}

// What one head says.
class Card {
  constructor(head, i) {
    this.name = head.head;
    this.i = i;
    this.element = make('article', 'card');
    this.says = make('p', 'says');
    this.rows = make('div');
    this.colours = new Map();
    this.shown = []; // Classes with a bar; their strip goes on without.
    this.element.append(make('h2', '', head.head), this.says, this.rows);
    if (head.kind === 'segment') return;
    this.strip = make('canvas');
    this.strip.setAttribute('role', 'img');
    this.strip.setAttribute('aria-label', 'Probabilities of ' + head.head + ' over the last ten seconds');
    const axis = make('p', 'axis');
    axis.append(make('span', '', '10 s ago'), make('span', '', 'now'));
    this.element.append(this.strip, axis);
  }

  clear(why) {
    this.says.replaceChildren(make('span', 'tag warn', why));
    this.rows.replaceChildren();
  }

  set(head) {
    if (head.withheld || !(head.probabilities || head.areas)) {
      this.clear(head.withheld ? 'withheld: ' + head.withheld : 'no answer');
    } else {
      const decided = Array.isArray(head.class) ? head.class.join(', ') || 'none' : head.class;
      this.says.replaceChildren(...(decided === undefined ? [] : [make('b', '', decided)]));
      if (head.probabilities) this.bars(head.probabilities);
      if (head.areas) this.areas(head.areas, head.colours || {});
    }
    if (explains && head.explanation && head.explanation.neighbours) {
      const one = (n) => 'no. ' + n.image + ' ' + n.classes.join(', ') + ' (' + n.share.toFixed(2) + ')';
      this.says.append(make('span', 'tag', 'nearest training images, share of the vote: ' + head.explanation.neighbours.map(one).join('; ')));
    }
    if (head.ood) {
      const { score, threshold, outside } = head.ood;
      const text = outside ? 'UNLIKE THE TRAINING' : 'like the training';
      const tag = make('span', outside ? 'tag warn' : 'tag', text + ' (' + score.toFixed(2) + ', limit ' + threshold.toFixed(2) + ')');
      tag.dataset.ood = score;
      this.says.append(tag);
    }
  }

  colour(name) {
    if (!this.colours.has(name)) this.colours.set(name, this.colours.size);
    return ink(this.colours.get(name));
  }

  // The likeliest classes, in a fixed order.
  bars(probabilities) {
    const all = Object.entries(probabilities);
    const least = all.map(([, p]) => p).sort((a, b) => b - a)[Math.min(MOST, all.length) - 1];
    const some = all.filter(([, p]) => p >= least).slice(0, MOST);
    const names = some.map(([name]) => name);
    if (this.rows.children.length === 0 || this.shown.join('/') !== names.join('/')) {
      this.shown = names;
      this.rows.replaceChildren(...names.map((name) => this.bar(name)));
    }
    some.forEach(([name, p], i) => {
      const row = this.rows.children[i];
      const meter = row.children[1];
      meter.setAttribute('aria-valuenow', p);
      meter.firstChild.style.width = 100 * p + '%';
      meter.firstChild.style.background = this.colour(name);
      row.children[2].textContent = p.toFixed(3);
    });
  }

  bar(name) {
    const row = make('div', 'row');
    const meter = make('div', 'meter');
    const attributes = { role: 'meter', 'aria-label': name, 'aria-valuemin': 0, 'aria-valuemax': 1 };
    Object.entries(attributes).forEach(([key, value]) => meter.setAttribute(key, value));
    meter.append(make('span'));
    const label = make('span', 'name', name);
    label.title = name;
    row.append(label, meter, make('span', 'value'));
    return row;
  }

  areas(areas, colours) {
    const row = ([name, area]) => {
      const row = make('div', 'row area');
      const label = make('span', 'name');
      const key = make('span', 'key');
      key.style.background = colours[name] || 'transparent';
      label.append(key, name);
      const text = area.pixels + ' px' + (area.mm2 === undefined ? '' : ', ' + area.mm2.toFixed(1) + ' mm²');
      const value = make('span', 'value', text);
      value.dataset.pixels = area.pixels;
      row.append(label, value);
      return row;
    };
    this.rows.replaceChildren(...Object.entries(areas).map(row));
  }
}

// -- The stream

function general(message) {
  const { facts, counts } = told;
  if (facts) {
    const behind = facts.delay_frames;
    at('model').textContent = facts.model + ', ' + facts.runs_on + (behind ? '; answers are of several frames, ' + behind + ' frames behind' : '');
  }
  at('deadline').textContent = facts && facts.deadline_ms ? facts.deadline_ms + ' ms' : 'none';
  for (const name of ['frames', 'answered', 'withheld', 'dropped', 'lost']) at(name).textContent = counts[name];
  at('lates').textContent = counts.late;
  const { hottest, resident } = message.machine;
  if (hottest) {
    at('hottest').textContent = hottest.celsius.toFixed(1) + ' °C';
    // From here on the kernel slows the machine down.
    at('hottest').className = hottest.passive_celsius !== null && hottest.celsius >= hottest.passive_celsius ? 'hot' : '';
  }
  if (resident) at('memory').textContent = (resident / 2 ** 20).toFixed(0) + ' MiB';
}

// What is to be said of the stream, and whether its picture is old or to be blanked.
function verdict() {
  const seconds = (ms) => (ms / 1000).toFixed(1) + ' s';
  const silent = now() - heard;
  const bad = (state, why, blank) => ({ level: 'bad', state, why, show: blank ? 'blank' : 'stale' });
  if (!told && silent < STALE_MS) return { level: 'off', state: 'CONNECTING', why: '', show: 'stale' };
  if (told && told.state === 'ended') return bad('ENDED', 'the stream is over');
  if (!connected || silent > STALE_MS) return bad('NO CONNECTION', 'nothing heard for ' + seconds(silent), told && told.blank);
  if (told.state === 'stuck') return bad('STUCK', 'a run does not end', told.blank);
  const since = 1000 * told.since_frame + silent;
  if (told.state === 'stalled' || since > STALE_MS) return bad('STALLED', 'no frame for ' + seconds(since), told.blank);
  if (told.state !== 'running' || pictures.length === 0) return { level: 'off', state: 'WAITING', why: 'for the first frame', show: 'stale' };
  if (now() - renewed > STALE_MS) return bad('OLD PICTURE', 'none for ' + seconds(now() - renewed));
  const said = pictures[pictures.length - 1].said;
  const hidden = said.hidden ? 'the picture may show the name of the patient, and is black: name a part of it (--crop, --crop-us)' : '';
  const warn = (state, why) => ({ level: 'warn', state, why: hidden && why !== hidden ? why + '; ' + hidden : why, show: 'live' });
  if (said.withheld) return warn('NO SIGNAL', 'the picture is ' + said.withheld + ': no answers');
  if (said.picture === 'frozen') return warn('FROZEN', 'the same picture for a second or more');
  if (said.heads.some((head) => head.ood && head.ood.outside)) return warn('UNLIKE', 'the picture is unlike those of the training');
  if (said.picture === 'resized') return warn('RESIZED', 'the picture has another size');
  if (hidden) return warn('HIDDEN', hidden);
  return { level: 'good', state: 'LIVE', why: '', show: 'live' };
}

function status() {
  let { level, state, why, show: how } = verdict();
  if (paused) {
    const ago = ((now() - pictures[place].came) / 1000).toFixed(1);
    const seen = 'frame ' + pictures[place].said.frame + ', ' + ago + ' s ago';
    if (level === 'bad') why += '; paused at ' + seen;
    else [level, state, why] = ['warn', 'PAUSED HERE', seen + '; the stream goes on'];
    if (how !== 'blank') how = 'paused';
  }
  at('pill').dataset.level = level;
  write(at('state'), state);
  write(at('why'), why);
  at('main').dataset.show = how;
  document.title = state + ' · Microraptor';
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// -- Strips

function strips() {
  const newest = lines.length ? lines[lines.length - 1].exposed : 0;
  const behind = told ? told.since_frame + (now() - heard) / 1000 : 0;
  const x = (line) => 1 - (newest + behind - line.exposed) / SPAN;
  for (const card of cards.filter((card) => card.strip)) {
    const draw = sheet(card.strip);
    const names = card.shown;
    const of = (line) => (line.heads[card.i] || {}).probabilities;
    for (const name of names) {
      draw.line(lines.map((line) => [x(line), of(line) ? 0.95 - 0.9 * of(line)[name] : NaN]), card.colour(name));
    }
  }
  const draw = sheet(at('ages'));
  const deadline = told && told.facts && told.facts.deadline_ms;
  const top = 1.15 * Math.max(deadline || 0, ...lines.map((line) => line.ms.age), 1);
  const y = (ms) => 1 - ms / top;
  if (deadline) draw.line([[0, y(deadline)], [1, y(deadline)]], ink(1), [4, 3]);
  for (const line of lines) draw.dot(x(line), y(line.ms.age), line.late ? ink(1) : ink(0));
  write(at('agescale'), 'top ' + top.toFixed(0) + ' ms');
}

// Something to draw on, from 0, 0 to 1, 1.
function sheet(canvas) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale].map(Math.round);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, width, height);
  pen.lineWidth = 1.5 * scale;
  return {
    line(points, colour, dash = []) {
      pen.strokeStyle = colour;
      pen.setLineDash(dash.map((length) => length * scale));
      pen.beginPath();
      let down = false;
      for (const [x, y] of points) {
        if (Number.isNaN(y)) down = false;
        else if (down) pen.lineTo(x * width, y * height);
        else [down] = [true, pen.moveTo(x * width, y * height)];
      }
      pen.stroke();
    },
    dot(x, y, colour) {
      pen.fillStyle = colour;
      pen.fillRect(x * width - scale, y * height - scale, 2 * scale, 2 * scale);
    },
  };
}

// -- What the viewer does

function pause(wanted) {
  paused = wanted && pictures.length > 0;
  place = pictures.length - 1;
  if (pictures.length) show(pictures[place]);
  at('pause').setAttribute('aria-pressed', paused);
  at('back').disabled = at('on').disabled = !paused;
  status();
}

function step(by) {
  if (!paused) return;
  place = Math.min(Math.max(place + by, 0), pictures.length - 1);
  show(pictures[place]);
  status();
}

function toggle() {
  masks = !masks;
  at('toggle').setAttribute('aria-pressed', masks);
  at('fresh').classList.toggle('nomask', !masks);
}

at('pause').onclick = () => pause(!paused);
at('back').onclick = () => step(-1);
at('on').onclick = () => step(1);
function explain() {
  explains = !explains;
  at('explain').setAttribute('aria-pressed', explains);
  if (pictures.length) show(pictures[paused ? place : pictures.length - 1]);
  listen();
}

at('explain').onclick = explain;
at('toggle').onclick = toggle;
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const keys = { ' ': () => pause(!paused), ArrowLeft: () => step(-1), ArrowRight: () => step(1), m: toggle, w: explain };
  if (!keys[event.key]) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith('Arrow')) keys[event.key]();
});
document.addEventListener('visibilitychange', status);
setInterval(status, 200);
setInterval(() => document.hidden || strips(), 100);
listen();
