// Jumps to the word that is clicked, and follows what is being said.

const list = document.querySelector(".lines");
const player = document.getElementById("player");
const embed = document.getElementById("embed");
const follow = document.getElementById("follow");
const voices = document.querySelector(".voices");
const length = Number(voices.dataset.length);
const cursors = [...voices.querySelectorAll(".cursor")];

// Of the part of the transcript that is shown.
let lines, starts, from, until;
function take() {
  lines = [...list.querySelectorAll("li")];
  starts = lines.map((line) => Number(line.dataset.s));
  from = Number(list.dataset.from ?? -Infinity);
  until = Number(list.dataset.until ?? Infinity);
}
take();

// The place of the last number that is not greater, or -1.
function lastNotAfter(numbers, number) {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// The words of a line as elements, made when they are needed first: a page has thousands.
function wordsOf(line) {
  if (line.words) return line.words;
  const text = line.querySelector(".text");
  const parts = text.textContent.split(" ");
  const times = line.dataset.w ? line.dataset.w.split(" ").map(Number) : [];
  line.words = [];
  line.times = [];
  if (parts.length !== times.length) return line.words; // words with spaces in them: the line stays whole
  text.replaceChildren();
  parts.forEach((part, place) => {
    const word = document.createElement("span");
    word.className = "word";
    word.tabIndex = -1;
    word.textContent = part;
    text.append(place ? " " : "", word);
    line.words.push(word);
    line.times.push(Number(line.dataset.s) + times[place] / 100);
  });
  return line.words;
}

function timeOf(target) {
  const line = target.closest("li");
  const place = wordsOf(line).indexOf(target.closest(".word"));
  return place < 0 ? Number(line.dataset.s) : line.times[place];
}

// Players: the kept audio, or YouTube's, which is started anew at each jump, since asking it to jump needs its script.
function showEmbed(second) {
  const frame = embed.querySelector("iframe") ?? document.createElement("iframe");
  frame.src = `${embed.dataset.src}?autoplay=1&start=${Math.floor(second)}`;
  frame.title = embed.dataset.title;
  frame.allow = "autoplay; fullscreen";
  frame.referrerPolicy = "strict-origin-when-cross-origin";
  if (!frame.isConnected) embed.replaceChildren(frame);
}

function jump(second) {
  if (player) {
    player.currentTime = second;
    player.play().catch(() => {}); // a browser may want a click first; the place is right in any case
  } else if (embed) showEmbed(second);
  show(second, true);
}

let at = 0; // the second that was shown last
let current = null;
let currentWord = null;

const isHere = (second) => second >= from && second < until;

// The part of another second takes the place of this one, and what plays goes on.
let loading = false;
async function load() {
  if (loading) return;
  loading = true;
  const second = at;
  try {
    const answer = await fetch(`${location.pathname}?t=${second}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const other = page.querySelector(".lines");
    const hadFocus = list.contains(document.activeElement);
    for (const name of ["from", "until"]) {
      if (name in other.dataset) list.dataset[name] = other.dataset[name];
      else delete list.dataset[name];
    }
    list.replaceChildren(...other.children);
    const pagers = [...page.querySelectorAll(".pager")];
    document.querySelectorAll(".pager").forEach((pager) => pager.replaceWith(pagers.shift() ?? ""));
    take();
    if (hadFocus) lines[Math.max(0, lastNotAfter(starts, at))]?.querySelector(".time").focus();
  } catch {
    follow.checked = false; // else it would be asked for again with every frame
    return;
  } finally {
    loading = false;
  }
  if (isHere(at) || at !== second) show(at, true);
}

function show(second, scroll) {
  at = second;
  if (scroll && !isHere(second)) load();
  cursors.forEach((cursor) => cursor.setAttribute("x", String((second / length) * 1000 - 1)));
  const place = lastNotAfter(starts, second);
  const line = place >= 0 && second <= Number(lines[place].dataset.e) + 0.5 ? lines[place] : null;
  if (line !== current) {
    current?.removeAttribute("aria-current");
    line?.setAttribute("aria-current", "true");
    current = line;
    if (line && scroll) line.scrollIntoView({ block: "center", behavior: "auto" });
  }
  const words = line ? wordsOf(line) : [];
  const word = words[lastNotAfter(line?.times ?? [], second)] ?? null;
  if (word !== currentWord) {
    currentWord?.classList.remove("now");
    word?.classList.add("now");
    currentWord = word;
  }
}

function tick() {
  show(player.currentTime, follow.checked);
  if (!player.paused) requestAnimationFrame(tick);
}

if (player || embed) {
  document.querySelector(".keys").hidden = false;
  list.classList.add("jumps");
  list.addEventListener("pointerover", (event) => {
    const line = event.target.closest("li");
    if (line) wordsOf(line);
  });
  list.addEventListener("click", (event) => {
    const target = event.target.closest(".word, .time");
    if (!target || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    jump(timeOf(target));
  });
  list.addEventListener("keydown", (event) => {
    const line = event.target.closest("li");
    if (!line || event.altKey || event.ctrlKey || event.metaKey) return;
    const stops = [line.querySelector(".time"), ...wordsOf(line)];
    const at = stops.indexOf(event.target);
    const near = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
    const next = { ArrowRight: stops[at + 1], ArrowLeft: stops[at - 1] }[event.key] ?? near?.querySelector(".time");
    if (next) next.focus();
    else if (event.key === "Enter" || event.key === " ") jump(timeOf(event.target));
    else return;
    event.preventDefault();
  });
  voices.addEventListener("click", (event) => {
    const lane = event.target.closest(".lane");
    if (!lane) return;
    const box = lane.getBoundingClientRect();
    jump(((event.clientX - box.left) / box.width) * length);
  });
}
if (player) {
  document.querySelector(".follow").hidden = false;
  player.addEventListener("play", tick);
  player.addEventListener("seeked", () => show(player.currentTime, follow.checked));
}
embed?.querySelector("button").addEventListener("click", () => jump(Number(list.dataset.at ?? 0)));

if (list.dataset.at !== undefined) {
  const second = Number(list.dataset.at);
  if (player) player.currentTime = second;
  show(second, true);
}
