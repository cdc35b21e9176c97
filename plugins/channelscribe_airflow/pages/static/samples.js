// Plays a few seconds of a voice; the same button, or another one, stops it.

const MOST_S = 15;
const player = new Audio();
let playing = null;
let until = 0;

function stop() {
  player.pause();
  playing?.setAttribute("aria-pressed", "false");
  playing = null;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".listen");
  if (!button) return;
  const again = button === playing;
  stop();
  if (again) return;
  const start = Number(button.dataset.s);
  until = Math.min(Number(button.dataset.e), start + MOST_S);
  playing = button;
  button.setAttribute("aria-pressed", "true");
  player.src = button.dataset.src;
  player.currentTime = start;
  player.play().catch(stop);
});
player.addEventListener("timeupdate", () => {
  if (playing && player.currentTime >= until) stop();
});
player.addEventListener("ended", stop);
