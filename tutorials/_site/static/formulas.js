// Long formulas. minilora.css makes displayed ones smaller where they would not fit, down to a
// limit, and needs their width in em for that. Inline ones that are wider than their line get a
// line of their own, which scrolls.

function measureDisplayed() {
  for (const formula of document.querySelectorAll("div.math mjx-container")) {
    const drawn = formula.querySelector("svg");
    const least = parseFloat(getComputedStyle(drawn).minWidth); // of one with a number
    const width = least || drawn.getBoundingClientRect().width;
    const em = parseFloat(getComputedStyle(formula).fontSize);
    formula.style.setProperty("--width", (width / em).toFixed(2));
  }
}

function breakInline() {
  for (const formula of document.querySelectorAll("span.math")) {
    const drawn = formula.querySelector("svg");
    const line = formula.closest("p, li, td, dd, h1, h2, h3");
    if (drawn && line) {
      formula.classList.toggle("wide", drawn.getBoundingClientRect().width > line.clientWidth);
    }
  }
}

window.addEventListener("load", () => {
  if (!window.MathJax || !MathJax.startup) return; // a page without formulas
  MathJax.startup.promise.then(() => {
    measureDisplayed();
    breakInline();
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      if (window.innerWidth !== width) breakInline();
      width = window.innerWidth;
    });
  });
});
