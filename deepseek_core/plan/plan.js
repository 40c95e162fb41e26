"use strict";
// Hovering a node or a bar shows what the tables say about it; a click keeps it.
const detail = document.getElementById("detail");
let kept = false;
const mark = (part, unit) => {
  document.querySelectorAll(".on").forEach(e => e.classList.remove("on"));
  if (part === null) return;
  document.querySelectorAll(`.area[data-part="${part}"], .bar[data-part="${part}"]`).forEach(e => e.classList.add("on"));
  if (unit !== null) document.querySelectorAll(`.node[data-unit="${unit}"]`).forEach(e => e.classList.add("on"));
};
const show = element => {
  const node = element.classList.contains("node");
  const template = document.getElementById(node ? `u${element.dataset.unit}` : `p${element.dataset.part}`);
  if (!template) return;
  detail.className = `card ${[...element.classList].find(c => /^d\d$/.test(c)) || ""}`;
  detail.replaceChildren(template.content.cloneNode(true));
  const close = document.createElement("button");
  close.textContent = "×";
  close.setAttribute("aria-label", "close");
  close.onclick = () => { kept = false; detail.hidden = true; mark(null, null); };
  detail.append(close);
  detail.hidden = false;
  mark(element.dataset.part, node ? element.dataset.unit : null);
};
document.querySelectorAll(".node, .bar").forEach(element => {
  element.addEventListener("mouseenter", () => { if (!kept) show(element); });
  element.addEventListener("mouseleave", () => { if (!kept) { detail.hidden = true; mark(null, null); } });
  element.addEventListener("focus", () => { if (!kept) show(element); });
  element.addEventListener("click", () => { kept = true; show(element); });
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape") { kept = false; detail.hidden = true; mark(null, null); }
});
