// The frame: who is logged in, which page is shown, the theme.

import { onTrouble } from "./api.js";
import { fill, h, say } from "./dom.js";
import { loginPage } from "./pages/login.js";
import * as cache from "./pages/cache.js";
import * as config from "./pages/config.js";
import * as limits from "./pages/limits.js";
import * as live from "./pages/live.js";
import * as overview from "./pages/overview.js";
import * as routes from "./pages/routes.js";
import * as upstreams from "./pages/upstreams.js";
import { problemNote, segments, toast } from "./parts.js";
import { logOut, session, whoAmI } from "./session.js";

const PAGES = { "": overview, routes, upstreams, cache, limits, live, config };

const frame = document.getElementById("frame");
const main = document.getElementById("main");
const nav = document.getElementById("nav");
const account = document.getElementById("account");
const login = document.getElementById("login");
const menu = document.getElementById("menu");
const offline = document.getElementById("offline");

let leave = () => {};

function showLogin() {
  leave();
  leave = () => {};
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  frame.hidden = true;
  document.title = "Log in · proxyd";
  loginPage(login, () => start(true));
}

/** `moved`: somebody is at the keyboard already, and goes on at the head of the page; else it begins at the top, with the skip link. */
async function start(moved = false) {
  try {
    if (!(await whoAmI())) {
      showLogin();
      return;
    }
  } catch (problem) {
    frame.hidden = false;
    fill(main, problemNote(problem));
    setTimeout(start, 3000, moved);
    return;
  }
  fill(login);
  frame.hidden = false;
  drawAccount();
  go(moved);
}

function go(moved) {
  if (frame.hidden) return;
  const name = location.hash.replace(/^#\/?/, "").split(/[/?]/)[0];
  const page = PAGES[name] ?? overview;
  leave();
  openMenu(false);
  for (const link of nav.children) {
    if (link.getAttribute("href") === `#/${page === overview ? "" : name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page.title} · proxyd`;
  fill(main);
  window.scrollTo(0, 0);
  leave = page.mount(main) ?? (() => {});
  if (moved) main.querySelector("h1")?.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- account and theme
function drawAccount() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  const who = session.asks
    ? h("div", { class: "account-who" }, h("strong", {}, session.user), h("div", { class: "muted small" }, `role ${session.role}`))
    : h("div", { class: "account-who muted small" }, "No users are configured: everybody on this machine is admin.");
  const out = session.asks ? h("button", { type: "button", class: "small quiet", onclick: endSession }, "Log out") : null;
  fill(account, segments("Theme", [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]], theme, setTheme), who, out);
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("proxyd.theme", theme); } catch { /* then it is for this page only */ }
}

async function endSession() {
  leave();                     // its streams end with the session, and a stream that is cut off is an error on the console
  leave = () => {};
  try {
    await logOut();
    showLogin();
  } catch (problem) {
    toast(`Not logged out: ${problem.message}`);
  }
}

function openMenu(open) {
  document.querySelector(".side").classList.toggle("open", open);
  menu.setAttribute("aria-expanded", String(open));
}

// ---------------------------------------------------------------- begin
fill(nav, Object.entries(PAGES).map(([name, page]) => h("a", { href: `#/${name}` }, page.title)));
say(document.getElementById("where"), location.host);
menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
document.querySelector(".side").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && menu.getAttribute("aria-expanded") === "true") {
    openMenu(false);
    menu.focus();
  }
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();      // the fragment of the address is the page
  main.focus();
});
onTrouble(() => { if (!frame.hidden) showLogin(); }, (reached) => say(offline, reached ? "" : "The daemon does not answer. Trying again…"));
window.addEventListener("hashchange", () => go(true));
start();
