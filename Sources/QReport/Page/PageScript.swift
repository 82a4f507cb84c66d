/// The script of a report: what it adds the page does without.
///
/// Arrow keys go through the marks of a chart, and what a mark says stands below its chart; the table of tensors is
/// filtered, sorted and shown in parts.
enum PageScript {
  /// Runs once, at the end of the page.
  static let source: StaticString = """
    "use strict";
    document.documentElement.classList.add("js");
    for (const figure of document.querySelectorAll("figure")) {
      const readout = figure.querySelector(".readout");
      for (const chart of figure.querySelectorAll("svg.chart")) {
        const marks = [...chart.querySelectorAll(".mark")];
        const tell = (mark) => { if (readout && mark) readout.textContent = mark.getAttribute("aria-label"); };
        chart.addEventListener("pointerover", (event) => tell(event.target.closest(".mark")));
        chart.addEventListener("focusin", (event) => tell(event.target.closest(".mark")));
        chart.addEventListener("keydown", (event) => {
          const place = marks.indexOf(event.target.closest(".mark"));
          const steps = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -place, End: marks.length - 1 - place};
          const next = marks[place + steps[event.key]];
          if (place < 0 || !next) return;
          event.preventDefault();
          marks[place].setAttribute("tabindex", "-1");
          next.setAttribute("tabindex", "0");
          next.focus();
        });
      }
    }
    const table = document.querySelector("table.tensors");
    if (table) {
      const part = 25;
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const filter = document.querySelector(".controls input");
      const more = document.querySelector(".controls button");
      const count = document.querySelector(".controls [role=status]");
      let limit = part;
      const show = () => {
        const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
        let found = 0;
        for (const row of rows) {
          const text = row.textContent.toLowerCase();
          const matches = words.every((word) => text.includes(word));
          if (matches) found += 1;
          row.hidden = !matches || found > limit;
        }
        more.hidden = found <= limit;
        count.textContent = Math.min(found, limit) + " of " + found + " rows";
      };
      filter.addEventListener("input", () => { limit = part; show(); });
      more.addEventListener("click", () => { limit = Infinity; show(); });
      [...table.tHead.rows[0].cells].forEach((cell, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = cell.textContent;
        cell.replaceChildren(button);
        button.addEventListener("click", () => {
          const down = cell.getAttribute("aria-sort") !== "descending";
          for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
          cell.setAttribute("aria-sort", down ? "descending" : "ascending");
          const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
          const numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
          const order = numeric ? (a, b) => Number(key(a)) - Number(key(b)) : (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
          rows.sort((a, b) => (down ? order(b, a) : order(a, b)));
          body.append(...rows);
          show();
        });
      });
      show();
    }
    """

  /// The script's digest, which is all that the page lets run: nothing that a file smuggled in would.
  static let digest: StaticString = "sha256-1TCKYvqlfZ7PDN+GZD+JXrNG+tRYDZvFKzpbYyK9TVY="
}
