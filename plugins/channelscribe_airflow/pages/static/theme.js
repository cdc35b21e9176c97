// Airflow's colour mode, which it keeps in this browser. Without one the browser's own preference decides.
// A script of its own before the page is drawn, so that a dark page never flashes white.
function follow() {
  const mode = localStorage.getItem("theme");
  if (mode === "light" || mode === "dark") document.documentElement.dataset.theme = mode;
  else delete document.documentElement.dataset.theme;
}
follow();
addEventListener("storage", follow);
