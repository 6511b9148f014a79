// The storefront of /demo. It asks and sends what the pages of any shop would: with a browser key, the visitor's cookie, and the
// customer's token that the shop's server signed. Only /demo/shop and /demo/visit stand for that server.
const RECOMMENDATIONS = 6;
const find = (id) => document.getElementById(id);
const shop = await (await fetch("/demo/shop")).json();
const products = new Map(shop.products.map((product) => [product.product_id, product]));
const money = new Intl.NumberFormat(undefined, { style: "currency", currency: shop.currency });
let token = null; // of the customer who has signed in
let shown = null; // product ids of the recommendations on the page
let offer = null;
let queue = Promise.resolve();

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${shop.key}`, ...(token && { "Customer-Token": token }) };
  const began = performance.now();
  const response = await fetch(path, {
    headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
    method: body ? "POST" : "GET",
    body: body && JSON.stringify(body),
    credentials: "include",
  });
  if (response.headers.get("Customer-Token-Refused") === "expired") {
    await enter(find("visitor").value, false); // a shop's page asks its server for another token
    return ask(path, body);
  }
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(`${path}: ${answer.title}. ${answer.detail ?? ""}`);
  return { answer, took: performance.now() - began };
}

async function send(event, words) {
  const common = { event_id: crypto.randomUUID(), page_url: location.origin + location.pathname, device: device() };
  const { answer, took } = await ask("/v1/events", { events: [{ ...common, ...event }] });
  for (const { field, remedy } of answer.refused) throw new Error(`The event was refused: ${field} ${remedy}`);
  note(words, took);
}

function note(words, took) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = `${took.toFixed(0)} ms`;
  item.append(time, words);
  find("log").prepend(item);
  while (find("log").children.length > 12) find("log").lastChild.remove();
}

async function refresh() {
  const [recommended, offered] = await Promise.all([
    ask(`/v1/visitors/me/recommendations?n=${RECOMMENDATIONS}`),
    ask("/v1/visitors/me/offer?page=demo"),
  ]);
  note("asked for recommendations", recommended.took);
  note("asked for the offer", offered.took);
  showRecommendations(recommended.answer.items);
  await showOffer(offered.answer);
}

function showRecommendations(items) {
  const before = shown;
  shown = items.map((item) => item.product_id);
  const fresh = before === null ? [] : shown.filter((id) => !before.includes(id));
  const hadFocus = find("recommendations").contains(document.activeElement);
  find("recommendations").replaceChildren(...items.map((item) => card(item.product_id, item)));
  for (const node of find("recommendations").children) node.classList.toggle("new", fresh.includes(node.dataset.product));
  if (hadFocus) find("for-you-title").focus(); // the button that was clicked is gone
  find("changes").textContent = before === null ? "" : changes(before, fresh);
}

function changes(before, fresh) {
  if (fresh.length) return `New since your last click: ${fresh.map(nameOf).join(", ")}.`;
  return before.join() === shown.join() ? "Your last click changed nothing here." : "Your last click changed the order.";
}

async function showOffer(answer) {
  const isAnother = offer?.offer_id !== answer.offer_id;
  offer = answer;
  find("offer").hidden = !answer.offer_id;
  find("offer-name").textContent = answer.name ?? answer.offer_id ?? "";
  find("offer-reason").textContent = answer.reason ?? "";
  if (answer.offer_id && isAnother) await send({ event_name: "view_promotion", ...promotion() }, `saw the offer ${answer.name}`);
}

const promotion = () => ({ offer_id: offer.offer_id, decision_id: offer.decision_id });
const nameOf = (id) => products.get(id)?.name ?? id;

// A product of the catalogue, or with its reason as a recommendation.
function card(id, recommendation) {
  const product = products.get(id) ?? { product_id: id };
  const node = find("card").content.cloneNode(true).firstElementChild;
  const fill = (name, text) => (node.querySelector(`.${name}`).textContent = text);
  const on = (name, eventName, verb) => node.querySelector(`.${name}`).addEventListener("click", () => act(eventName, product, verb));
  node.dataset.product = id;
  fill("picture", nameOf(id).split(/\W+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase());
  node.querySelector(".picture").style.setProperty("--hue", hue(product.category_id));
  fill("view", nameOf(id));
  fill("price", product.price == null ? "" : money.format(product.price));
  on("view", "view_item", "looked at");
  if (recommendation) {
    fill("reason", recommendation.reason ?? "");
    node.querySelector(".actions").remove();
  } else {
    node.querySelector(".reason").remove();
    on("add", "add_to_cart", "put into the cart");
    on("buy", "purchase", "bought");
    node.querySelector(".add").setAttribute("aria-label", `Add to cart: ${nameOf(id)}`);
    node.querySelector(".buy").setAttribute("aria-label", `Buy: ${nameOf(id)}`);
  }
  return node;
}

const hue = (id) => (shop.categories.findIndex((category) => category.category_id === id) * 137.5 + 100) % 360;
const device = () => (matchMedia("(pointer: coarse)").matches ? "mobile" : "desktop");

function act(eventName, product, verb) {
  return guarded(async () => {
    const order = { order_id: crypto.randomUUID(), line_no: 1, quantity: 1, amount: product.price, currency: shop.currency };
    const { product_id, category_id } = product;
    await send({ event_name: eventName, product_id, category_id, ...(eventName === "purchase" && order) }, `${verb} ${nameOf(product_id)}`);
    if (eventName === "add_to_cart") find("cart").value = Number(find("cart").value) + 1;
    await refresh();
  });
}

// A visit begins: of a customer whom the shop's server has signed in, or of a new visitor.
async function enter(customerId, isAnother = true) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ customer_id: customerId || null, is_another: isAnother });
  token = (await (await fetch("/demo/visit", { method: "POST", headers, body })).json()).customer_token;
}

// One thing after the other, so that no answer is shown after a later one.
function guarded(work) {
  queue = queue.then(work).then(
    () => (find("problem").hidden = true),
    (error) => {
      find("problem").textContent = error.message;
      find("problem").hidden = false;
    },
  );
  return queue;
}

function begin() {
  return guarded(async () => {
    const select = find("visitor");
    await enter(select.value);
    shown = offer = null;
    find("cart").value = 0;
    find("log").replaceChildren();
    await refresh();
  });
}

find("title").textContent = document.title = shop.title;
for (const { customer_id, words } of shop.customers) find("visitor").add(new Option(`${customer_id}: ${words}`, customer_id));
for (const { category_id, title } of shop.categories) {
  const heading = document.createElement("h3");
  const list = document.createElement("ol");
  heading.textContent = title;
  list.className = "cards";
  list.append(...shop.products.filter((product) => product.category_id === category_id).map((product) => card(product.product_id)));
  find("catalogue").append(heading, list);
}
find("visitor").addEventListener("change", begin);
find("offer-take").addEventListener("click", () =>
  guarded(async () => {
    await send({ event_name: "select_promotion", ...promotion() }, `took up the offer ${offer.name}`);
    await refresh();
  }),
);
await begin();
