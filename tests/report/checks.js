// What is wrong with the page as it is laid out now: a list of texts.
const found = [];
const all = selector => [...document.querySelectorAll(selector)];
const name = element => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} ${(element.textContent || "").trim().slice(0, 30)}`;
const root = document.documentElement;

// overflow: of the page, and of anything that no region scrolls or clips
if (root.scrollWidth > root.clientWidth) found.push(`overflow: page ${root.scrollWidth} > ${root.clientWidth}`);
for (const element of all("body *")) {
  const box = element.getBoundingClientRect();
  if (box.width && box.right > root.clientWidth + 1 && !element.closest(".wide, pre, svg, .skip"))
    found.push(`overflow: ${name(element)} ends at ${Math.round(box.right)}`);
}

// contrast: of all texts that are seen, and of lines
const rgba = text => { const n = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0]; return n.length === 3 ? [...n, 1] : n; };
const over = (top, below) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
const luminance = color => [0, 1, 2].map(i => color[i] / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const ground = element => {
  if (!element) return [255, 255, 255, 1];
  const color = rgba(getComputedStyle(element).backgroundColor);
  return color[3] === 1 ? color : over(color, ground(element.parentElement));
};
const fill = (text, box) => {
  const ours = text.ownerSVGElement, [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const inside = shape => { const b = shape.getBoundingClientRect(); return b.left <= x && x <= b.right && b.top <= y && y <= b.bottom; };
  const shapes = [...ours.querySelectorAll("rect")].filter(inside).map(shape => getComputedStyle(shape).fill).filter(f => f !== "none");
  return shapes.length ? rgba(shapes.at(-1)) : ground(ours);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let texts = 0;
for (let node; (node = walker.nextNode());) {
  const element = node.parentElement, style = getComputedStyle(element), range = document.createRange();
  range.selectNodeContents(node);
  const box = range.getBoundingClientRect();
  if (!node.data.trim() || !box.width || ["SCRIPT", "STYLE", "TITLE", "title"].includes(element.tagName) || element.closest(".skip")) continue;
  texts += 1;
  const svg = element.ownerSVGElement, size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const value = svg ? contrast(rgba(style.fill), fill(element, box)) : contrast(rgba(style.color), ground(element));
  if (value < (large ? 3 : 4.5)) found.push(`contrast: ${value.toFixed(2)} of ${name(element)}`);
}
if (texts < 10) found.push(`contrast: only ${texts} texts were seen`);
for (const line of all(".plot .line, .plot .spikes, .flow"))
  if (contrast(rgba(getComputedStyle(line).stroke), ground(line.closest("figure"))) < 3) found.push(`contrast: ${name(line)}`);

// names: of pictures, controls and regions
for (const image of all("img")) if (!image.alt.trim()) found.push(`name: ${name(image)}`);
for (const svg of all("svg")) if (!svg.getAttribute("aria-label") && !svg.closest("[aria-hidden=true]")) found.push(`name: ${name(svg)}`);
for (const each of all("[role]:not(svg), [data-node]")) if (!each.getAttribute("aria-label")) found.push(`name: ${name(each)}`);
for (const each of all("button, a, summary")) if (!(each.textContent.trim() || each.getAttribute("aria-label"))) found.push(`name: ${name(each)}`);
for (const each of all("figure")) if (!each.querySelector("[aria-label], img[alt]")) found.push(`name: ${name(each)}`);
if (!root.lang || all("h1").length !== 1 || !document.title) found.push("name: of the page");

// requests
for (const entry of performance.getEntriesByType("resource")) if (!entry.name.startsWith("data:")) found.push(`request: ${entry.name}`);
return found;
