import { fill, h } from "../dom.js";
import { problemNote } from "../parts.js";
import { logIn } from "../session.js";

export function loginPage(root, done) {
  const user = h("input", { type: "text", name: "user", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const go = h("button", { type: "submit", class: "primary" }, "Log in");
  const trouble = h("div", { role: "alert" });
  const form = h("form", { class: "card login-card" },
    h("h1", {}, h("img", { src: "/ui/icon.svg", alt: "", width: "28", height: "28" }), "proxyd"),
    h("p", { class: "muted small" }, location.host),
    h("label", { class: "field" }, "User", user), h("label", { class: "field" }, "Password", password), trouble, go);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await logIn(user.value, password.value);
      done();
    } catch (problem) {
      fill(trouble, problemNote({ message: problem.message }));
      go.disabled = false;
      password.value = "";
      password.focus();
    }
  });
  fill(root, h("main", { class: "login-page" }, form));
  user.focus();
}
