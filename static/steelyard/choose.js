// A form with check boxes whose button works while as many are chosen as `data-choose` says, such as "2-8".
"use strict";

for (const form of document.querySelectorAll("[data-choose]")) {
  const [fewest, most] = form.dataset.choose.split("-").map(Number);
  const button = form.querySelector("button");
  const look = () => {
    const chosen = form.querySelectorAll("input[type=checkbox]:checked").length;
    button.disabled = chosen < fewest || chosen > most;
    button.textContent = chosen ? `Compare ${chosen} run${chosen === 1 ? "" : "s"}` : "Compare runs";
  };
  form.addEventListener("change", look);
  look();
}
