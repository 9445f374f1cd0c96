// What a verdict panel can do in the browser beyond what HTML does by itself. It comes with the panel, as the load
// handler of its style, and so it works without a network, without a kernel, and each time that the panel is redrawn.
// A redraw replaces the panel; the box around it stays, and what has to outlive a redraw is kept there.
(style => {
  const panel = style.nextElementSibling, box = style.closest(".lab-verdict");
  if (!panel || !box) return;
  const find = key => [...panel.querySelectorAll("[data-key]")].find(each => each.dataset.key === key);

  // Says it to a screen reader. The region is there before its text, and is emptied first: else it may not be heard.
  const say = text => {
    kept.region.textContent = "";
    setTimeout(() => { kept.region.textContent = text; }, 100);
  };

  const write = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.style.position = "fixed";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      button.focus();
      return done;
    }
  };

  const copy = async button => {
    const code = button.parentElement.querySelector("code");
    const done = await write(code.textContent, button);
    if (!done) getSelection().selectAllChildren(code);
    const word = done ? "Copied" : "Press Ctrl+C";
    button.textContent = word;
    say(word);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  let kept = box.labKept;
  if (!kept) {
    kept = box.labKept = { folds: {}, key: null, at: "", region: document.createElement("div"), busy: false };
    kept.region.className = "lab-say";
    kept.region.setAttribute("role", "status");
    kept.region.setAttribute("aria-live", "polite");
    box.append(kept.region);

    box.addEventListener("focusin", event => { kept.key = event.target.dataset.key || null; });
    box.addEventListener("focusout", event => setTimeout(() => {
      if (event.target.isConnected && document.activeElement !== event.target) kept.key = null;
    }));
    box.addEventListener("click", event => {
      const summary = event.target.closest("summary"), button = event.target.closest(".copy");
      if (summary) kept.folds[summary.dataset.fold] = !summary.parentElement.open;
      if (button) kept.copy(button);
    });

    // A button asks the kernel once, and not again before the answer is there. (A disabled one would lose the focus.)
    box.addEventListener("click", event => {
      const button = event.target.closest(".lab-ask");
      if (!button) return;
      if (kept.busy) {
        event.stopPropagation();
        return;
      }
      kept.busy = true;
      const asked = kept.asked = {};
      setTimeout(() => {
        if (!kept.busy || kept.asked !== asked || box.querySelector(".lab-looking")) return;
        kept.busy = false;
        kept.silent = kept.silent || document.createElement("div");
        kept.silent.className = "lab-silent";
        kept.silent.textContent = "No answer yet. The kernel is busy with another cell, or it was started anew "
          + "since: then run this cell again.";
        box.append(kept.silent);
        say(kept.silent.textContent);
      }, 5000);
    }, true);
  }

  // From here on: each time that the panel is drawn.
  kept.busy = false;
  kept.copy = copy;
  if (kept.silent) kept.silent.remove();
  for (const button of panel.querySelectorAll(".copy")) button.hidden = false;
  for (const summary of panel.querySelectorAll("summary")) {
    if (summary.dataset.fold in kept.folds) summary.parentElement.open = kept.folds[summary.dataset.fold];
  }
  const lost = !document.activeElement || document.activeElement === document.body;
  const again = lost && kept.key && find(kept.key);
  if (again) again.focus({ preventScroll: true });

  // A verdict is announced once: when it was asked for or has changed, and not when the notebook is opened again.
  const { at, say: text } = panel.dataset;
  if (at !== kept.at && Date.now() - Number(at) < 30000) say(text);
  kept.at = at;
})(this)
