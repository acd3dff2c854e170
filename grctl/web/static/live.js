// Renews the parts of a page that are marked data-live: asks for the page again, and makes what is
// there like what came, element by element, so that focus, opened details and scrolling stay.

const LONGEST_PAUSE = 15_000;

export function follow() {
  const every = Number(document.body.dataset.every) * 1000;
  const box = document.getElementById("live");
  if (!every || !box) return;
  new Following(every, box).begin();
}

class Following {
  constructor(every, box) {
    this.every = every;
    this.box = box;
    this.words = box.querySelector("#live-words");
    this.button = box.querySelector("#live-switch");
    this.markUrl = document.body.dataset.markUrl;
    this.mark = document.getElementById("mark")?.dataset.mark;
    this.grow = Number(document.body.dataset.grow ?? 0) * 1000;
    this.renewed = Date.now();
    this.pause = every;
    this.isPaused = false;
  }

  begin() {
    this.box.hidden = false;
    this.say("Live");
    this.button.addEventListener("click", () => this.toggle());
    document.addEventListener("visibilitychange", () => document.hidden || this.soon(0));
    this.soon(this.every);
  }

  toggle() {
    this.isPaused = !this.isPaused;
    this.box.classList.toggle("paused", this.isPaused);
    this.button.textContent = this.isPaused ? "Go on" : "Pause";
    this.say(this.isPaused ? "Paused" : "Live");
    if (!this.isPaused) this.soon(0);
  }

  soon(after) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), after);
  }

  async look() {
    if (this.isPaused || document.hidden) return;
    try {
      if (!isSelecting() && (await this.hasChanged())) await this.renew();
      this.pause = this.every;
      this.box.classList.remove("lost");
      if (!this.isPaused) this.say("Live");
    } catch (error) {
      if (error instanceof Gone) return this.end();
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
      this.box.classList.add("lost");
      this.say(error instanceof SignedOut ? "Signed out: load the page again" : "No answer; it is tried again");
    }
    this.soon(this.pause);
  }

  // What is shown stays, as it was last; there is nothing to ask for any more.
  end() {
    this.box.classList.add("lost");
    this.button.hidden = true;
    this.say("The run is no longer there: it was deleted");
    this.isPaused = true;
  }

  async hasChanged() {
    if (!this.markUrl) return true;
    const found = await (await ask(this.markUrl)).json();
    return found.mark !== this.mark || (this.grow > 0 && Date.now() - this.renewed >= this.grow);
  }

  async renew() {
    const page = new DOMParser().parseFromString(await (await ask(location.href)).text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = page.getElementById(part.id);
      if (other) become(part, other);
    }
    for (const name of ["markUrl", "grow", "every"]) {
      if (page.body.dataset[name] !== undefined) document.body.dataset[name] = page.body.dataset[name];
    }
    this.mark = document.getElementById("mark")?.dataset.mark;
    this.grow = Number(document.body.dataset.grow ?? 0) * 1000;
    this.every = Number(document.body.dataset.every) * 1000;
    this.renewed = Date.now();
  }

  say(words) {
    if (this.words.textContent !== words) this.words.textContent = words;
  }
}

class SignedOut extends Error {}
class Gone extends Error {}

async function ask(url) {
  const answer = await fetch(url, { headers: { "X-Live": "1" }, signal: AbortSignal.timeout(30_000) });
  if (answer.status === 401) throw new SignedOut();
  if (answer.status === 404) throw new Gone();
  if (!answer.ok) throw new Error(String(answer.status));
  return answer;
}

function isSelecting() {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed;
}

// Makes `now` like `then`. Children are matched by id where they have one, else by their place.
function become(now, then) {
  for (const { name } of [...now.attributes]) {
    if (!then.hasAttribute(name) && name !== "open") now.removeAttribute(name);
  }
  for (const { name, value } of then.attributes) {
    if (name !== "open" && now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  let at = now.firstChild;
  for (const child of [...then.childNodes]) {
    const same = matching(now, at, child);
    if (!same) {
      now.insertBefore(document.importNode(child, true), at);
      continue;
    }
    while (at !== same) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    if (same.nodeType === Node.ELEMENT_NODE) become(same, child);
    else if (same.data !== child.data) same.data = child.data;
    at = same.nextSibling;
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function matching(parent, at, child) {
  if (child.id) {
    for (let node = at; node; node = node.nextSibling) {
      if (node.id === child.id && node.nodeName === child.nodeName) return node;
    }
    return null;
  }
  return at && at.nodeName === child.nodeName && !at.id ? at : null;
}
