// Shows one part of the cards at a time, and of it those with the searched text where the page has a search field.
const buttons = [...document.querySelectorAll("nav button")];
const search = document.querySelector("nav input");
const cards = [...document.querySelectorAll("article")];
let part = buttons.length ? buttons[0].dataset.show : "";
const show = () => {
  const wanted = search ? search.value.toLowerCase() : "";
  let shown = 0, all = 0;
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.show === part);
  for (const card of cards) {
    const here = card.dataset.part === part;
    card.hidden = !here || !card.textContent.toLowerCase().includes(wanted);
    all += here;
    shown += !card.hidden;
  }
  if (search && buttons.length) document.getElementById("shown").textContent = wanted ? shown + " of " + all : "";
};
for (const button of buttons) button.onclick = () => { part = button.dataset.show; show(); };
if (search) search.oninput = show;
// A link to a card shows the part that holds it.
const jump = () => {
  const card = document.getElementById(location.hash.slice(1));
  if (!card || !card.dataset.part) return;
  part = card.dataset.part;
  if (search) search.value = "";
  show();
  card.scrollIntoView();
};
addEventListener("hashchange", jump);
show();
jump();
