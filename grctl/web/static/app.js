// Everything works without this script. It renews pages in place, asks in a dialog rather than on a
// page of its own, and remembers light or dark.
import { follow } from "./live.js";

const byId = (id) => document.getElementById(id);

function themeSwitch() {
  const button = byId("theme");
  if (!button) return;
  const names = { "": "Auto", light: "Light", dark: "Dark" };
  const order = ["", "light", "dark"];
  const show = () => {
    const now = document.documentElement.dataset.theme ?? "";
    button.textContent = names[now];
    button.setAttribute("aria-label", `Colours: ${names[now]}`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "";
    const next = order[(order.indexOf(now) + 1) % order.length];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=strict`;
    show();
  });
  show();
}

function dialogs() {
  const dialog = byId("dialog");
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href, { headers: { "X-Live": "1" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const form = page.querySelector("form.act");
      if (!answer.ok || !form) throw new Error("no form");
      dialog.replaceChildren(document.importNode(form, true));
      dialog.showModal();
      dialog.querySelector("select, textarea, input:not([type=hidden])")?.focus();
    } catch {
      location.assign(link.href); // as without a script
    }
  });
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("[data-close]")) return;
    event.preventDefault();
    dialog.close();
  });
}

function once() {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-once]");
    if (!form) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  // Back to a page that the browser has kept: it can be sent again.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-once]")) delete form.dataset.sent;
  });
}

themeSwitch();
dialogs();
once();
follow();
