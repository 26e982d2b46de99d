// Cards by kind and searched text; boxes by how many checks they passed; a row and its box light up together.
const cards = [...document.querySelectorAll("article.picture")];
const kinds = [...document.querySelectorAll("#kinds button")];
const stages = [...document.querySelectorAll("#stages button")];
const search = document.querySelector("#kinds input");
const texts = cards.map((card) => card.textContent.toLowerCase());
let kind = "";
const show = () => {
  const wanted = search.value.trim().toLowerCase();
  let shown = 0;
  cards.forEach((card, n) => {
    const here = !kind || card.dataset.kinds.split("|").includes(kind);
    card.hidden = !here || !texts[n].includes(wanted);
    shown += !card.hidden;
  });
  for (const button of kinds) button.setAttribute("aria-pressed", button.dataset.kind === kind);
  document.getElementById("shown").textContent = kind || wanted ? shown + (shown === 1 ? " picture fits." : " pictures fit.") : "";
};
for (const button of kinds) button.onclick = () => { kind = button.dataset.kind; show(); };
if (search) search.oninput = show;
for (const button of stages) button.onclick = () => {
  const least = Number(button.dataset.stage);
  for (const other of stages) other.setAttribute("aria-pressed", other === button);
  for (const each of document.querySelectorAll("[data-passed]")) each.classList.toggle("gone", Number(each.dataset.passed) < least);
};
for (const card of cards) {
  const light = (number) => {
    for (const each of card.querySelectorAll("[data-n]")) each.classList.toggle("lit", each.dataset.n === number);
    for (const box of card.querySelectorAll(".mark")) box.classList.toggle("faint", number !== "" && box.dataset.n !== number);
  };
  card.onpointerover = (event) => { const over = event.target.closest("[data-n]"); light(over ? over.dataset.n : ""); };
  card.onpointerleave = () => light("");
}
