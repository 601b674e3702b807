/** The search box of the header: what it holds, and where it leads. */

export class SearchBox {
  /** `go(address)` opens a page of the store. */
  constructor(form, go) {
    this.form = form;
    this.go = go;
    this.input = form.q;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search(this.input.value);
    });
  }

  search(query) {
    this.input.blur(); // a phone's keyboard goes away
    this.go(`/search?q=${encodeURIComponent(query.trim())}`);
  }

  /** Shows the query of the page, nothing on other pages. */
  show(query) {
    this.input.value = query;
  }
}
