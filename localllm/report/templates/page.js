// Sorts a table by the column whose heading is chosen; what was not measured comes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, index) => heading.firstElementChild.addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => {
      const text = row.cells[index].dataset.value;
      return text === undefined ? null : Number(text);
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const one = value(a), other = value(b);
      if (one === null || other === null) return (one === null) - (other === null);
      return descending ? other - one : one - other;
    });
    table.tBodies[0].append(...rows);
  }));
}
