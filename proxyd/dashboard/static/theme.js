// Classic script, run before the first paint: a page that is light for a moment and then dark hurts.
// "auto" is no attribute: the media query of base.css decides.
(() => {
  let chosen = "auto";
  try { chosen = localStorage.getItem("proxyd.theme") || "auto"; } catch { /* storage may be forbidden */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
