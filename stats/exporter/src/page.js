// Makes `a` like `b`, touching only what differs: nothing flickers, and a tooltip stays open.
function morph(a, b) {
  if (a.nodeName !== b.nodeName) return a.replaceWith(b);
  if (a.nodeType !== Node.ELEMENT_NODE) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  for (const { name } of [...a.attributes]) if (!b.hasAttribute(name)) a.removeAttribute(name);
  for (const { name, value } of b.attributes) if (a.getAttribute(name) !== value) a.setAttribute(name, value);
  const old = [...a.childNodes], now = [...b.childNodes];
  now.forEach((node, at) => (at < old.length ? morph(old[at], node) : a.append(node)));
  old.slice(now.length).forEach(node => node.remove());
}
async function turn() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      morph(document.getElementById("live"), page.getElementById("live"));
      document.body.className = "";
    } catch {
      document.body.className = "stale";
    }
  }
  setTimeout(turn, 1000);
}
setTimeout(turn, 1000);
