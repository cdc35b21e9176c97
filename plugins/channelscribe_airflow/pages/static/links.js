// Airflow shows the pages in a frame that may open no windows. A link that leads elsewhere, or to a page of Airflow's, is
// followed by Airflow's own document instead, which is of the same origin.
if (window.parent !== window) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[target=_blank], a[target=_top]");
    if (!link) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = link.href;
    outside.target = link.target === "_top" ? "_self" : "_blank";
    outside.rel = "noopener noreferrer";
    outside.click();
  });
}
