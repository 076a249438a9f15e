// Heads as columns in perspective, on a 2-D canvas: no library, no WebGL, nothing fetched, nothing that moves by itself.
// What is drawn is `scene` of infoflow/charts/heads_3d.py. World: x heads, y layers (away from the reader), z up; the floor's
// centre is the origin, its longer side 1.

const FAR = 3.2; // from the camera to the origin
const TALL = 0.32; // the largest height
const WIDE = 0.74; // of a column, in its cell
const STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64];
const TICK = 12, TITLE = 13; // pixels
const SIDES = [[0, 1], [1, 2], [2, 3], [3, 0]]; // corners of a column's foot: front, right, back, left
const LIGHT = [0.9, 0.76, 0.95, 0.82]; // on those sides
const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const shade = (hex, by) => `rgb(${rgb(hex).map((c) => Math.round(c * by)).join(" ")})`;
const area = (p) => p.reduce((sum, [x, y], i) => sum + x * p[(i + 1) % p.length][1] - p[(i + 1) % p.length][0] * y, 0);
const inside = (p, x, y) => p.reduce((odd, [ax, ay], i) => {
  const [bx, by] = p[(i + p.length - 1) % p.length];
  return ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax ? !odd : odd;
}, false);

class Heads {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.root = root;
    this.canvas = this.find("canvas");
    this.pen = this.canvas.getContext("2d");
    this.listen();
    this.sizes = new ResizeObserver(() => this.ask());
    this.sizes.observe(this.find(".plot"));
  }

  show(data, send) {
    this.send = send;
    const other = !this.data || data.layers !== this.data.layers || data.heads !== this.data.heads;
    if (other || data.selected !== this.data.selected) this.selected = data.selected; // else a click not yet answered stays
    this.data = data;
    const { layers, heads, words } = data, ratio = clamp(heads / layers, 0.5, 2);
    this.w = Math.min(1, ratio);
    this.d = Math.min(1, 1 / ratio);
    if (other) this.reset();
    this.columns = data.height.map((height, i) => {
      const x = this.x(i % heads), y = this.y(Math.floor(i / heads)), z = height * TALL;
      const a = (this.w / heads) * (WIDE / 2), b = (this.d / layers) * (WIDE / 2);
      const foot = [[x - a, y - b], [x + a, y - b], [x + a, y + b], [x - a, y + b]];
      return { i, x, y, z, foot };
    });
    this.arcs = data.edges.map((edge) => this.arc(edge));
    for (const name of ["away", "towards"]) this.find(`.legend .${name}`).textContent = words[name];
    this.find(".legend .height").textContent = `height: ${words.height}`;
    this.find(".legend .colour").textContent = `colour: ${words.colour}`;
    this.find(".legend .edge").textContent = `lines: ${words.edge}; the wider, the larger`;
    this.find(".line").hidden = !words.edge;
    this.canvas.setAttribute("aria-label", words.about);
    this.look = null;
    this.ask();
  }

  // The colours of the theme that is on.
  paint() {
    const ground = rgb(getComputedStyle(this.find(".heads")).getPropertyValue("--st-background-color").trim() || "#ffffff");
    const look = this.data[ground[0] + ground[1] + ground[2] < 384 ? "dark" : "light"];
    if (look === this.look) return;
    this.look = look;
    this.columns.forEach((c, i) => {
      const fill = look.fill[i];
      Object.assign(c, { fill, sides: LIGHT.map((by) => shade(fill, by)), edge: shade(fill, 0.55) });
    });
    const [, grey] = look.ramp;
    this.find(".ramp").style.background = `linear-gradient(to right, ${look.ramp.join(", ")})`;
    [[".top", grey], [".side", shade(grey, LIGHT[0])], [".other", shade(grey, LIGHT[1])]].forEach(([part, fill]) => {
      this.find(part).style.fill = fill;
    });
  }

  x(head) { return ((head + 0.5) / this.data.heads - 0.5) * this.w; }
  y(layer) { return ((layer + 0.5) / this.data.layers - 0.5) * this.d; }
  name(i) { return `head ${Math.floor(i / this.data.heads)}.${i % this.data.heads}`; }
  about(i) { return this.data.said[i].map((said, k) => `${[this.data.words.height, this.data.words.colour][k]}: ${said}`); }

  // Where the camera sees a point: the floor turned, then tilted, then nearer things larger; pixels before they are fitted.
  seen(x, y, z) {
    const away = x * this.sin + y * this.cos, near = FAR / (FAR + away * this.level - z * this.lift);
    return [(x * this.cos - y * this.sin) * near, -(z * this.level + away * this.lift) * near];
  }
  point(x, y, z) {
    const [a, b] = this.seen(x, y, z);
    return [a * this.scale + this.left, b * this.scale + this.top];
  }

  ask() {
    this.asked ??= requestAnimationFrame(() => { this.asked = null; this.draw(); });
  }

  // The whole fits into the canvas, with room for names around it, however it is turned; then zoom and place.
  fit(wide, high) {
    const { turn, tilt, zoom, x, y } = this.view;
    [this.sin, this.cos, this.lift, this.level] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)];
    const corners = [-0.5, 0.5].flatMap((i) => [-0.5, 0.5].flatMap((j) => [0, TALL].map((z) => [i * this.w, j * this.d, z])));
    const at = [...corners, ...this.arcs.flatMap(({ way }) => way.filter((_, n) => n % 4 === 0))].map((p) => this.seen(...p));
    const side = Math.min(74, wide * 0.13), room = [side, 14, side, 48]; // left, top, right, bottom
    const [xs, ys] = [0, 1].map((k) => at.map((p) => p[k]));
    const [l, r, t, b] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const fits = Math.min((wide - room[0] - room[2]) / (r - l), (high - room[1] - room[3]) / (b - t));
    this.scale = fits * zoom;
    this.left = (wide + room[0] - room[2]) / 2 - ((l + r) / 2) * this.scale + x;
    this.top = (high + room[1] - room[3]) / 2 - ((t + b) / 2) * this.scale + y;
  }

  draw() {
    const wide = this.find(".plot").clientWidth;
    if (!wide || !this.data) return;
    const high = Math.round(clamp(wide * 0.6, 290, 580)), dots = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(wide * dots) || this.canvas.height !== Math.round(high * dots)) {
      this.canvas.width = Math.round(wide * dots);
      this.canvas.height = Math.round(high * dots);
      this.canvas.style.height = `${high}px`;
    }
    [this.wide, this.high] = [wide, high];
    this.font = getComputedStyle(this.find(".heads")).fontFamily;
    this.paint();
    this.fit(wide, high);
    this.pen.setTransform(dots, 0, 0, dots, 0, 0);
    this.pen.clearRect(0, 0, wide, high);
    this.pen.lineJoin = this.pen.lineCap = "round";
    this.room();
    this.heads();
    for (const i of new Set([this.at, this.selected])) if (i !== null) this.outline(i, 1.5);
    for (const arc of this.arcs) this.path(arc);
    this.axes();
    if (this.selected !== null) this.ring(this.selected);
    this.canvas.dataset.selected = this.selected === null ? "" : this.name(this.selected);
  }

  polygon(points, fill, line, width = 1) {
    const pen = this.pen;
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.closePath();
    if (fill) [pen.fillStyle] = [fill], pen.fill();
    if (line) [pen.strokeStyle, pen.lineWidth] = [line, width], pen.stroke();
  }
  line(points, colour, width) {
    const pen = this.pen;
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    pen.stroke();
  }

  // The floor and the two walls behind it, with a line at each tick of the height.
  room() {
    const { ticks } = this.data, { ink } = this.look, [w, d] = [this.w / 2, this.d / 2];
    this.front = this.cos >= 0 ? -1 : 1; // which of the two sides is nearer, along layers and along heads
    this.side = this.sin >= 0 ? -1 : 1;
    const p = (i, j, z) => this.point(i * w, j * d, z), [f, s] = [this.front, this.side];
    this.polygon([p(-1, -1, 0), p(1, -1, 0), p(1, 1, 0), p(-1, 1, 0)], ink.floor, ink.line);
    for (const [at] of ticks) this.line([p(s, -f, at * TALL), p(-s, -f, at * TALL), p(-s, f, at * TALL)], ink.line, 1);
    for (const [i, j] of [[s, -f], [-s, -f], [-s, f]]) this.line([p(i, j, 0), p(i, j, TALL)], ink.line, 1);
  }

  // Columns from the farthest to the nearest. Each stands in a cell of its own, so that order by distance is exact.
  heads() {
    const cx = -FAR * this.level * this.sin, cy = -FAR * this.level * this.cos; // under the camera
    for (const c of this.columns) c.far = (c.x - cx) ** 2 + (c.y - cy) ** 2;
    const lined = (this.w / this.data.heads) * this.scale > 18; // where cells are small, sides alone, in half the time
    this.order = [...this.columns].sort((a, b) => b.far - a.far);
    for (const c of this.order) {
      const top = c.foot.map(([x, y]) => this.point(x, y, c.z));
      c.faces = [];
      if (c.z > 0.001) {
        const foot = c.foot.map(([x, y]) => this.point(x, y, 0));
        SIDES.forEach(([a, b], k) => {
          const face = [foot[a], foot[b], top[b], top[a]];
          if (area(face) < 0) c.faces.push([face, c.sides[k]]);
        });
      }
      c.faces.push([top, c.fill]);
      for (const [face, fill] of c.faces) this.polygon(face, fill, lined ? c.edge : null, 0.6);
    }
  }

  outline(i, width) {
    for (const [colour, more] of [[this.look.ink.paper, 3], [this.look.ink.text, 0]]) {
      for (const [face] of this.columns[i].faces) this.polygon(face, null, colour, width + more);
    }
  }

  // An arc over the columns, from top to top, with an arrow's head at the receiver.
  arc({ from, to, size, raises }) {
    const [a, b] = [this.columns[from], this.columns[to]], rise = 0.05 + 0.25 * Math.hypot(a.x - b.x, a.y - b.y);
    const between = (one, other, t) => one + (other - one) * t;
    const way = Array.from({ length: 33 }, (_, n) => n / 32).map((t) => [
      between(a.x, b.x, t), between(a.y, b.y, t), between(a.z, b.z, t) + 4 * t * (1 - t) * rise,
    ]);
    return { way, raises, width: 1.2 + 2.6 * size };
  }
  path({ way, raises, width }) {
    const points = way.map((p) => this.point(...p)), start = points[0], end = points.at(-1), long = 7 + 1.5 * width;
    const { paper } = this.look.ink, colour = this.look.ramp[raises ? 2 : 0];
    const line = points.filter(([x, y]) => Math.hypot(x - end[0], y - end[1]) > long * 0.9), last = line.at(-1) ?? start;
    const angle = Math.atan2(end[1] - last[1], end[0] - last[0]);
    const wing = (by) => [end[0] - long * Math.cos(angle + by), end[1] - long * Math.sin(angle + by)];
    const head = [end, wing(0.42), wing(-0.42)];
    line.push([0, 1].map((k) => (head[1][k] + head[2][k]) / 2));
    this.line(line, paper, width + 2.5);
    this.polygon(head, paper, paper, 3);
    this.line(line, colour, width);
    this.polygon(head, colour);
    this.pen.beginPath();
    this.pen.arc(...start, width / 2 + 1.5, 0, 7);
    [this.pen.fillStyle, this.pen.strokeStyle, this.pen.lineWidth] = [colour, paper, 1];
    this.pen.fill();
    this.pen.stroke();
  }

  ring(i) {
    const { ink } = this.look, c = this.columns[i], [x, y] = this.point(c.x, c.y, c.z), pen = this.pen;
    const across = Math.hypot(...[0, 1].map((k) => this.point(...c.foot[0], c.z)[k] - this.point(...c.foot[2], c.z)[k]));
    const radius = clamp(across * 0.8, 9, 40);
    for (const [colour, width] of [[ink.paper, 5], [ink.text, 2.2]]) {
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      [pen.strokeStyle, pen.lineWidth] = [colour, width];
      pen.stroke();
    }
    pen.font = `600 ${TITLE}px ${this.font}`;
    if (x < 0 || x > this.wide || y < 0 || y > this.high) return;
    const half = pen.measureText(this.name(i)).width / 2 + 4, above = y - radius - 11;
    this.text(this.name(i), clamp(x, half, this.wide - half), above > 9 ? above : y + radius + 11, ink.text);
  }

  text(words, x, y, colour, align = "center") {
    const pen = this.pen;
    [pen.textAlign, pen.textBaseline, pen.fillStyle] = [align, "middle", colour];
    [pen.strokeStyle, pen.lineWidth] = [this.look.ink.paper, 4];
    pen.strokeText(words, x, y);
    pen.fillText(words, x, y);
  }

  // Numbers along the two nearer sides of the floor and up the corner at the left.
  axes() {
    const { layers, heads, ticks } = this.data, { ink } = this.look, [w, d] = [this.w / 2, this.d / 2], pen = this.pen;
    this.along("head", heads, (t) => [this.x(t), this.front * d], [0, this.front]);
    this.along("layer", layers, (t) => [this.side * w, this.y(t)], [this.side, 0]);
    const corners = [[this.side, -this.front], [-this.side, this.front]].map(([i, j]) => [i * w, j * d]);
    const [x, y] = corners.sort((a, b) => this.point(...a, 0)[0] - this.point(...b, 0)[0])[0];
    const foot = this.point(x, y, 0), top = this.point(x, y, TALL);
    if (foot[1] - top[1] < 40) return; // from above there is no height to read
    pen.font = `${TICK}px ${this.font}`;
    const every = (foot[1] - top[1]) / Math.max(1, ticks.length - 1) < TICK + 2 ? 2 : 1;
    ticks.forEach(([at, said], n) => {
      if (n % every || !n) return;
      const [a, b] = this.point(x, y, at * TALL);
      this.line([[a - 4, b], [a, b]], ink.muted, 1);
      this.text(said, a - 7, b, ink.muted, "right");
    });
    this.line([foot, top], ink.muted, 1);
    pen.font = `600 ${TITLE}px ${this.font}`;
    this.text("height", top[0], top[1] - 12, ink.text);
  }

  along(title, n, at, [i, j]) {
    const { ink } = this.look, pen = this.pen, ends = [0, n - 1].map((t) => this.point(...at(t), 0));
    const out = this.out(at((n - 1) / 2), i, j), one = [0, 1].map((k) => (ends[1][k] - ends[0][k]) / Math.max(1, n - 1));
    pen.font = `${TICK}px ${this.font}`;
    const wide = pen.measureText(String(n - 1)).width;
    const apart = (by) => Math.abs(one[0]) * by * 0.92 > wide + 7 || Math.abs(one[1]) * by * 0.92 > TICK + 2;
    const step = STEPS.find(apart) ?? n;
    for (let t = 0; t < n; t += step) {
      const [x, y] = at(t), [a, b] = this.point(x, y, 0), edge = [a + out[0] * 4, b + out[1] * 4];
      this.line([[a, b], edge], ink.muted, 1);
      this.text(String(t), a + out[0] * (8 + wide / 2), b + 6 + out[1] * 8, ink.muted);
    }
    pen.font = `600 ${TITLE}px ${this.font}`;
    const [a, b] = this.point(...at((n - 1) / 2), 0);
    this.text(title, a + out[0] * (24 + wide + pen.measureText(title).width / 2), b + 16 + out[1] * 22, ink.text);
  }
  // On the screen, which way is out of the floor here.
  out([x, y], i, j) {
    const [a, b] = [this.point(x, y, 0), this.point(x + i * 0.05, y + j * 0.05, 0)];
    const long = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
    return [(b[0] - a[0]) / long, (b[1] - a[1]) / long];
  }

  // Which head is at this place: the nearest column there, else the cell of the floor.
  hit(x, y) {
    const there = [...this.order].reverse();
    const column = there.find((c) => c.faces.some(([face]) => inside(face, x, y)));
    if (column) return column.i;
    const grow = 1 / WIDE, cell = (c) => c.foot.map(([a, b]) => this.point(c.x + (a - c.x) * grow, c.y + (b - c.y) * grow, 0));
    return there.find((c) => inside(cell(c), x, y))?.i ?? null;
  }

  hover(i, x, y) {
    const tip = this.find(".tip");
    if (i !== this.at) [this.at] = [i], this.ask();
    this.canvas.classList.toggle("over", i !== null);
    tip.hidden = i === null;
    if (i === null) return;
    [this.name(i), ...this.about(i)].forEach((words, n) => { tip.children[n].textContent = words; });
    const [w, h] = [tip.offsetWidth, tip.offsetHeight];
    const left = x + 16 + w > this.wide ? x - 14 - w : x + 16, top = clamp(y - h / 2, 0, Math.max(0, this.high - h));
    tip.style.transform = `translate(${left}px, ${top}px)`;
  }

  select(i) {
    this.selected = i;
    this.find(".live").textContent = i === null ? "No head is selected." : `Selected ${this.name(i)}.`;
    this.ask();
    const { heads } = this.data;
    this.send("picked", { head: i === null ? null : [Math.floor(i / heads), i % heads], at: Date.now() });
  }

  turn(x, y) {
    this.view.turn += x;
    this.view.tilt = clamp(this.view.tilt + y, 0.16, Math.PI / 2);
    this.ask();
  }
  move(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.ask();
  }
  zoom(by, x = this.wide / 2, y = this.high / 2) {
    const before = this.view.zoom, at = [this.left, this.top];
    this.view.zoom = clamp(before * by, 0.5, 12);
    this.fit(this.wide, this.high);
    const k = this.view.zoom / before; // what is at x, y stays there
    this.move(x - (x - at[0]) * k - this.left, y - (y - at[1]) * k - this.top);
  }
  reset() {
    this.at = null;
    this.view = { turn: this.d > this.w ? -0.95 : -0.62, tilt: 0.5, zoom: 1, x: 0, y: 0 }; // layer 0 in front
    this.ask();
  }
  step(across, deep) {
    const { layers, heads } = this.data, at = this.at ?? this.selected ?? 0;
    this.at = clamp(Math.floor(at / heads) + deep, 0, layers - 1) * heads + clamp((at % heads) + across, 0, heads - 1);
    this.find(".live").textContent = [this.name(this.at), ...this.about(this.at)].join(". ");
    const c = this.columns[this.at];
    this.hover(this.at, ...this.point(c.x, c.y, c.z));
    this.ask();
  }

  listen() {
    const canvas = this.canvas, down = new Map();
    let moved = 0;
    const place = (e) => [e.clientX - canvas.getBoundingClientRect().left, e.clientY - canvas.getBoundingClientRect().top];
    const apart = () => { const [a, b] = [...down.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]) || 1; };
    canvas.onpointerdown = (e) => {
      down.set(e.pointerId, place(e));
      canvas.setPointerCapture(e.pointerId);
      moved = 0;
    };
    canvas.onpointermove = (e) => {
      const [x, y] = place(e), was = down.get(e.pointerId);
      if (!was) return this.order && this.hover(this.hit(x, y), x, y);
      const by = [x - was[0], y - was[1]], before = down.size > 1 ? apart() : 0;
      moved += Math.hypot(...by);
      down.set(e.pointerId, [x, y]);
      if (before) return this.zoom(apart() / before, x, y);
      if (moved < 4) return undefined;
      this.hover(null);
      canvas.classList.add("turning");
      return e.shiftKey || e.buttons === 2 ? this.move(...by) : this.turn(by[0] * 0.008, by[1] * 0.006);
    };
    canvas.onpointerup = canvas.onpointercancel = (e) => {
      const known = down.delete(e.pointerId), i = this.hit(...place(e));
      canvas.classList.remove("turning");
      if (known && e.type === "pointerup" && moved < 4 && e.button === 0 && i !== null) this.select(i);
    };
    canvas.onpointerleave = () => this.hover(null);
    canvas.oncontextmenu = (e) => e.preventDefault();
    canvas.addEventListener("wheel", (e) => { // the page's own, until the picture is the one that was clicked
      if (!e.ctrlKey && !e.metaKey && this.root.activeElement !== canvas) return;
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * 0.002), ...place(e));
    }, { passive: false });
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.onkeydown = (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const by = turns[e.key];
      if (by && e.shiftKey) this.step(...by);
      else if (by) this.turn(by[0] * 0.1, by[1] * 0.08);
      else if (e.key === "+" || e.key === "=") this.zoom(1.2);
      else if (e.key === "-") this.zoom(1 / 1.2);
      else if (e.key === "0") this.reset();
      else if (e.key === "Escape" && this.selected !== null) this.select(null);
      else if ((e.key === "Enter" || e.key === " ") && this.at !== null) this.select(this.at);
      else return;
      e.preventDefault();
      e.stopPropagation();
    };
    canvas.onblur = () => this.hover(null);
    this.find(".in").onclick = () => this.zoom(1.3);
    this.find(".out").onclick = () => this.zoom(1 / 1.3);
    this.find(".reset").onclick = () => this.reset();
  }
}

const shown = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  let heads = shown.get(parentElement);
  if (!heads) shown.set(parentElement, (heads = new Heads(parentElement)));
  heads.show(data, setStateValue);
}
