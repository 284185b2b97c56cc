// Who uses the dashboard, and what they may do.

import { get, learnPaths, post, send } from "./api.js";

const RANKS = { viewer: 0, operator: 1, admin: 2 };

export const session = { user: "", role: null, asks: false };

export async function whoAmI() {
  Object.assign(session, await get("/session"));
  if (session.role) await learnPaths();
  return session.role !== null;
}

export async function logIn(user, password) {
  await post("/session", { user, password });
  return whoAmI();
}

export async function logOut() {
  await send("DELETE", "/session");
  session.role = null;
}

export const may = (role) => RANKS[session.role] >= RANKS[role];

/** Why something cannot be done; "" when it can. */
export function refusal(role) {
  return may(role) ? "" : `this takes the role ${role}, and ${session.user} is ${session.role}`;
}

/** Attributes of a button that takes a role. */
export function needs(role, attributes = {}) {
  const why = refusal(role);
  return why ? { ...attributes, disabled: true, title: why } : attributes;
}
