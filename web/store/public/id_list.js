/** Item ids that the browser remembers, newest first, such as what was bought. */

export class IdList {
  constructor(key, limit) {
    this.key = key;
    this.limit = limit;
    this.ids = [];
    try {
      this.ids = JSON.parse(localStorage.getItem(key)) ?? [];
    } catch {
      /* nothing is remembered */
    }
  }

  add(id) {
    this.keep([id, ...this.ids.filter((known) => known !== id)].slice(0, this.limit));
  }

  clear() {
    this.keep([]);
  }

  keep(ids) {
    this.ids = ids;
    try {
      localStorage.setItem(this.key, JSON.stringify(ids));
    } catch {
      /* remembered until the page is left */
    }
  }
}
