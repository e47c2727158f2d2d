// Name the search, and let the keyboard scroll wide code and tables. The theme creates some of these elements late.
function mend() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
  for (const nav of document.querySelectorAll("nav.md-code__nav:not([role])")) nav.setAttribute("role", "none")
  for (const region of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0
}
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true })
addEventListener("resize", mend)
mend()
