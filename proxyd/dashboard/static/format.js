// Figures as people read them. An unknown figure is a dash, never a zero.

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const known = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  return known(value) ? whole.format(value) : DASH;
}

/** 0.4, 12, 1,234, 56.7k, 1.2M */
export function short(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(size < 1e10 ? 1 : 0)}G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(size < 1e7 ? 1 : 0)}M`;
  if (size >= 1e4) return `${(value / 1e3).toFixed(size < 1e5 ? 1 : 0)}k`;
  if (size >= 10 || Number.isInteger(value)) return whole.format(value);
  return value.toFixed(1);
}

/** A share of 0 to 1. */
export function percent(share) {
  if (!known(share)) return DASH;
  const value = share * 100;
  if (value === 0 || value === 100) return `${value}\u202f%`;
  if (value < 0.01) return "<\u202f0.01\u202f%";
  if (value > 99.9 && value < 100) return `${(Math.floor(value * 100) / 100).toFixed(2)}\u202f%`;   // never "100 %" while something failed
  return `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)}\u202f%`;
}

/** Seconds of a response: 0.4 ms, 12 ms, 1.24 s */
export function latency(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds === 0) return "<\u202f1\u202fms";   // within one turn of the engine's loop, which looks at the clock once
  if (seconds < 0.00095) return `${Math.round(seconds * 1e6)}\u202fµs`;
  if (seconds < 0.00995) return `${(seconds * 1e3).toFixed(1)}\u202fms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1e3)}\u202fms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)}\u202fs`;
}

export function bytes(value) {
  if (!known(value)) return DASH;
  for (const [unit, size] of [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(value / size < 10 ? 1 : 0)}\u202f${unit}`;
  }
  return `${whole.format(value)}\u202fB`;
}

/** A length of time: 12 s, 4 min, 2 h 10 min, 3 d 4 h */
export function span(seconds) {
  if (!known(seconds)) return DASH;
  const total = Math.max(0, Math.round(seconds));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} min`;
  return `${Math.floor(total / 86400)} d ${Math.floor((total % 86400) / 3600)} h`;
}

/** How long ago something was, of epoch seconds. */
export function ago(at) {
  if (!known(at) || at <= 0) return DASH;
  const seconds = Date.now() / 1000 - at;
  return seconds < 2 ? "just now" : `${span(seconds)} ago`;
}

/** How long something has been so. */
export function lasting(at) {
  return known(at) && at > 0 ? `for ${span(Date.now() / 1000 - at)}` : DASH;
}

export function time(at) {
  return known(at) && at > 0 ? clock.format(at * 1000) : DASH;
}

export function date(at) {
  return known(at) && at > 0 ? day.format(at * 1000) : DASH;
}

export function plural(number, noun, many = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : many}`;
}

export { DASH };
