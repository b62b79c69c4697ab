"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = { ...JSON.parse(byId("data").textContent), ...JSON.parse(byId("view").textContent) };
  document.documentElement.classList.add("js");

  const MINUS = "\u2212", DASH = "\u2013";
  const written = (x, digits = 6) =>
    x === null || x === undefined ? DASH : String(Number(x.toPrecision(digits))).replace("-", MINUS);
  // A cosine without what rounding leaves of zero.
  const tidy = (x) => x !== null && x !== undefined && Math.abs(x) < 5e-14 ? 0 : x;
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // ------------------------------------------------------------------------------------------------ the graph
  const canvas = byId("canvas");
  for (const one of Object.values(data.colours)) if (one.at) one.values = one.at.reduce((part, key) => part[key], data);
  if (canvas) graph();

  function graph() {
    const pictures = [...canvas.querySelectorAll("svg")];
    const home = new Map(pictures.map((svg) => [svg, svg.viewBox.baseVal]).map(([svg, box]) =>
      [svg, { x: box.x, y: box.y, w: box.width, h: box.height }]));
    const views = new Map();
    const boxes = new Map();  // position of a node -> its boxes in the pictures
    for (const box of canvas.querySelectorAll(".node")) {
      const n = Number(box.dataset.n);
      boxes.set(n, [...(boxes.get(n) || []), box]);
    }
    const shown = () => pictures.find((svg) => !svg.hasAttribute("hidden"));
    const blockOf = (n) => data.blocks.find((b) => n >= b.first && n < b.first + b.size * b.count);
    const folds = () => shown().dataset.folded === "yes";
    // The nodes that a box stands for in the picture that is shown.
    const standsFor = (n) => {
      const block = folds() ? blockOf(n) : undefined;
      if (!block) return [n];
      const first = block.first + (n - block.first) % block.size;
      return Array.from({ length: block.count }, (_, k) => first + k * block.size);
    };

    // Zoom and pan: the view box moves, the picture stays.
    const size = () => ({ w: canvas.clientWidth, h: canvas.clientHeight });
    const scale = (view) => Math.min(size().w / view.w, size().h / view.h);
    function show(svg, view) {
      const all = home.get(svg), box = size();
      const most = Math.max(all.w / box.w, all.h / box.h) * 1.05, least = 1 / 4;
      // A view has the shape of the canvas; units per pixel lie between `least` and `most`.
      const unit = Math.min(Math.max(view.w / box.w, view.h / box.h, least), Math.max(most, least));
      const w = unit * box.w, h = unit * box.h;
      const x = view.x + (view.w - w) / 2, y = view.y + (view.h - h) / 2;
      const within = (start, length, whole) => length >= whole ? (whole - length) / 2 : Math.min(Math.max(start, 0), whole - length);
      const next = { x: within(x, w, all.w), y: h >= all.h ? 0 : within(y, h, all.h), w, h };
      views.set(svg, next);
      svg.setAttribute("viewBox", [next.x, next.y, next.w, next.h].map((v) => v.toFixed(2)).join(" "));
      canvas.classList.toggle("far", unit > 2.3);
      canvas.classList.toggle("zoomed", unit < most * 0.93);
    }
    function fit() {  // the whole, but small graphs not much larger than life
      const svg = shown(), all = home.get(svg), box = size(), unit = Math.max(all.w / box.w, all.h / box.h, 0.6);
      show(svg, { x: 0, y: 0, w: unit * box.w, h: unit * box.h });
    }
    function start() {
      // On a narrow screen the whole would be too small to read: begin where the network does.
      const svg = shown(), all = home.get(svg), box = size(), unit = 1.25;
      if (box.w < 700 && all.w / box.w > unit) show(svg, { x: 0, y: 0, w: unit * box.w, h: unit * box.h });
      else fit();
    }
    function zoom(factor, px = 0.5, py = 0.5) {
      const svg = shown(), view = views.get(svg);
      const w = view.w / factor, h = view.h / factor;
      show(svg, { x: view.x + (view.w - w) * px, y: view.y + (view.h - h) * py, w, h });
    }
    function pan(dx, dy) {  // in pixels
      const svg = shown(), view = views.get(svg), unit = 1 / scale(view);
      show(svg, { ...view, x: view.x - dx * unit, y: view.y - dy * unit });
    }
    function centre(box) {
      const svg = box.ownerSVGElement, view = views.get(svg);
      const [x, y] = box.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
      const near = Math.min(view.w, 1.3 * size().w), ratio = near / view.w;
      show(svg, { x: x - near / 2, y: y - view.h * ratio / 2, w: near, h: view.h * ratio });
    }
    byId("zoom-in").onclick = () => zoom(1.5);
    byId("zoom-out").onclick = () => zoom(1 / 1.5);
    byId("zoom-fit").onclick = fit;
    canvas.addEventListener("wheel", (event) => {
      if (!(event.ctrlKey || event.metaKey)) return;  // the page scrolls
      event.preventDefault();
      const frame = canvas.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / 300), (event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height);
    }, { passive: false });

    const fingers = new Map();
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event); moved = 0; });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
      moved += Math.abs(dx) + Math.abs(dy);
      if (fingers.size === 2) {
        const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
        const spread = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
        zoom(spread(event) / Math.max(spread(before), 1));
      } else if (moved > 4) {
        canvas.classList.add("dragging");
        if (!canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
        pan(dx, dy);
      }
      fingers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"])
      canvas.addEventListener(end, (event) => { fingers.delete(event.pointerId); canvas.classList.remove("dragging"); });
    canvas.addEventListener("click", (event) => {
      const box = event.target.closest(".node");
      if (box && moved <= 4) select(Number(box.dataset.n), false);
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const order = [...shown().querySelectorAll(".node")].map((box) => Number(box.dataset.n));
      const here = selected === null ? -1 : order.indexOf(standsFor(selected)[0]);
      const keys = {
        ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
        "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fit,
        n: () => select(order[Math.min(here + 1, order.length - 1)], true), p: () => select(order[Math.max(here - 1, 0)], true),
      };
      if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    });
    new ResizeObserver(() => { const view = views.get(shown()); if (view) show(shown(), view); }).observe(canvas);

    // Colours.
    function colour() {
      const chosen = data.colours[byId("colour").value], values = chosen.values || null;
      canvas.dataset.colour = chosen.kind;
      const known = (values || []).filter((v) => v !== null);
      const low = Math.min(...known.slice(0, 1), Infinity) === Infinity ? 0 : known.reduce((a, b) => Math.min(a, b));
      const high = known.length ? known.reduce((a, b) => Math.max(a, b)) : 1;
      const log = low > 0 && high > 100 * low;
      const part = (v) => high === low ? 0.5 : log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
      for (const [n, drawn] of boxes) for (const box of drawn) {
        const stands = box.ownerSVGElement.dataset.folded === "yes" && blockOf(n)
          ? Array.from({ length: blockOf(n).count }, (_, k) => n + k * blockOf(n).size) : [n];
        const value = values ? values[stands[stands.length - 1]] : null;
        box.classList.toggle("unknown", value === null);
        box.style.setProperty("--t", value === null ? 0 : part(value).toFixed(3));
        box.classList.toggle("broken", stands.some((k) => data.rulesOf[k]?.some((r) => data.rules[r].severity === "error")));
        box.classList.toggle("warned", stands.some((k) => data.rulesOf[k]?.length));
      }
      const legend = byId("legend");
      legend.replaceChildren();
      if (chosen.kind === "values") {
        const ramp = element("i", "", "ramp");
        legend.append(element("span", written(low, 4)), ramp, element("span", written(high, 4)),
          element("span", [log ? ["logarithmic"] : [], folds() ? ["a folded block shows its last repetition"] : []].flat().join("; ")));
      } else for (const [name, fill, stroke] of chosen.kind === "rules"
        ? [["error", "--error-fill", "--error"], ["warning", "--warning-fill", "--warning"], ["no rule broken", "--paper", "--soft"]]
        : data.kinds.map((kind) => [kind.replaceAll("_", " "), kind, kind])) {
        const entry = element("span"), patch = element("i");
        if (chosen.kind === "rules") { patch.style.background = `var(${fill})`; patch.style.borderColor = `var(${stroke})`; }
        else {
          const style = getComputedStyle(canvas.querySelector(`.node.${CSS.escape(fill)}`) || canvas.querySelector(".node"));
          patch.style.background = style.fill; patch.style.borderColor = style.stroke;
        }
        entry.append(patch, name);
        legend.append(entry);
      }
    }
    byId("colour").onchange = colour;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colour);

    // Folded or whole.
    for (const radio of document.querySelectorAll("input[name=fold]")) radio.onchange = () => {
      for (const svg of pictures) svg.toggleAttribute("hidden", svg.dataset.folded !== radio.value);
      views.has(shown()) ? show(shown(), views.get(shown())) : start();
      colour();
      if (selected !== null) select(selected, true);
    };

    // One node.
    let selected = null;
    function select(n, move) {
      selected = n;
      for (const box of canvas.querySelectorAll(".selected")) box.classList.remove("selected");
      const stands = standsFor(n);
      const box = (boxes.get(stands[0]) || []).find((one) => one.ownerSVGElement === shown());
      if (box) { box.classList.add("selected"); if (move) centre(box); }
      describe(n, stands);
    }
    function link(n) {
      const made = element("a", data.nodes[n].id, "id");
      made.href = "#graph";
      made.onclick = (event) => { event.preventDefault(); select(n, true); };
      return made;
    }
    function describe(n, stands) {
      const node = data.nodes[n], last = stands[stands.length - 1], many = stands.length > 1;
      const panel = byId("chosen"), heading = element("h3");
      heading.append(element("span", node.id, "id"));
      if (many) heading.append(` and ${stands.length - 1} more, to `, element("span", data.nodes[last].id, "id"));
      const line = element("p");
      line.append(`${node.op.replaceAll("_", " ")}${node.detail ? `, ${node.detail}` : ""}; behind ${node.depth} nonlinear layer${node.depth === 1 ? "" : "s"}`);
      if (node.reads.length) {
        line.append("; reads ");
        node.reads.forEach((u, k) => line.append(k ? ", " : "", link(u)));
      }
      panel.replaceChildren(heading, line);
      const table = element("table"), body = table.createTBody();
      if (many) for (const title of ["", "first", "last"])
        (table.tHead?.rows[0] || table.createTHead().insertRow()).append(Object.assign(element("th", title, "n"), { scope: "col" }));
      for (const [name, chosen] of Object.entries(data.colours)) {
        if (chosen.kind !== "values" || chosen.values[n] === null) continue;
        const row = element("tr");
        row.append(Object.assign(element("th", chosen.title), { scope: "row" }));
        for (const k of many ? [stands[0], last] : [n]) row.append(element("td", written(name.startsWith("c0") ? tidy(chosen.values[k]) : chosen.values[k]), "n"));
        body.append(row);
      }
      if (body.rows.length) panel.append(table);
      for (const rule of new Set(stands.flatMap((k) => data.rulesOf[k] || []))) {
        const said = data.rules[rule], text = element("p", undefined, said.severity);
        const own = said.found.find((one) => stands.some((k) => data.nodes[k].id === one.node));
        text.append(element("b", `${said.severity}: `), `${own.message}; ${said.remedy}`);
        panel.append(text);
      }
    }
    byId("find").addEventListener("change", (event) => {
      const n = data.nodes.findIndex((node) => node.id === event.target.value.trim());
      if (n >= 0) select(n, true);
      byId("found").textContent = n >= 0 || !event.target.value ? "" : "no node has this name";
    });
    document.addEventListener("click", (event) => {
      const go = event.target.closest("a[data-go]");
      if (go) { select(Number(go.dataset.go), true); canvas.focus({ preventScroll: true }); }
    });
    start();
    colour();
  }

  // ------------------------------------------------------------------------------------------------ the C map
  if (byId("zeta")) maps();

  function maps() {
    const { c, stops, given, shaped } = data.maps, side = data.chart;
    const x = (v) => side.left + (v + 1) / 2 * side.size, y = (v) => side.top + (1 - v) / 2 * side.size;
    const path = (curve) => "M" + curve.map((v, k) => `${x(c[k]).toFixed(2)},${y(v).toFixed(2)}`).join("L");
    const mix = (a, b, t) => t === 0 ? a : t === 1 ? b : a === null || b === null ? null : (1 - t) * a + t * b;

    function at(position, stop) {
      const k = Math.min(Math.floor(position), shaped.length - 1), t = position - k;
      const low = shaped[k], high = t === 0 ? low : shaped[k + 1];  // the next one may have no solution
      const zeta = t === 0 ? low.zeta : 1 + Math.exp(mix(Math.log(low.zeta - 1), Math.log(high.zeta - 1), t));
      const missing = [low, high].find((one) => one.reason);
      if (missing) return { zeta, exact: t === 0, reason: `zeta = ${written(missing.zeta)}: ${missing.reason}` };
      const curve = low.C[stop].map((v, i) => mix(v, high.C[stop][i], t));
      return { zeta, exact: t === 0, psi: mix(low.psi, high.psi, t), slope: mix(low.slope[stop], high.slope[stop], t), curve };
    }
    function draw() {
      const position = Number(byId("zeta").value), stop = Number(byId("depth").value);
      const found = at(position, stop), about = found.exact ? "" : "about ";
      byId("zeta-value").textContent = about + written(found.zeta, found.exact ? 6 : 3);
      byId("zeta").setAttribute("aria-valuetext", `zeta ${about}${written(found.zeta, 4)}`);
      const place = stops[stop];
      byId("depth-value").textContent = `${place.node}, behind ${place.depth} nonlinear layer${place.depth === 1 ? "" : "s"}`;
      byId("depth").setAttribute("aria-valuetext", byId("depth-value").textContent);
      byId("curve").setAttribute("d", found.curve ? path(found.curve) : "");
      byId("given").setAttribute("d", given.C ? path(given.C[stop]) : "");
      byId("others").setAttribute("d", found.reason ? "" : stops.map((_, k) => path(at(position, k).curve)).join(""));
      byId("map-reason").textContent = found.reason || "";
      const middle = (c.length - 1) / 2, read = { psi: found.psi, slope: found.slope, c0: found.curve?.[middle], cm: found.curve?.[0] };
      for (const [name, value] of Object.entries(read)) byId(`read-${name}`).textContent = written(tidy(value));
      byId("read-given-psi").textContent = DASH;
      for (const [name, value] of Object.entries({ slope: given.slope?.[stop], c0: given.C?.[stop][middle], cm: given.C?.[stop][0] }))
        byId(`read-given-${name}`).textContent = written(value);
      byId("map-table").querySelectorAll("tbody tr").forEach((row, k) => {
        row.cells[1].textContent = written(found.curve?.[k] ?? null);
        row.cells[2].textContent = written(given.C?.[stop][k] ?? null);
      });
    }
    byId("zeta").oninput = byId("depth").oninput = draw;
    draw();
  }
})();
