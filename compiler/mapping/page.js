document.querySelectorAll('svg.chip').forEach(svg=>{const flows=[...svg.querySelectorAll('.flow')];
const show=name=>{svg.classList.toggle('dim',!!name);flows.forEach(f=>f.classList.toggle('lit',
f.dataset.from===name||f.dataset.to===name))};svg.querySelectorAll('.core').forEach(c=>{
c.addEventListener('pointerenter',()=>show(c.dataset.node));c.addEventListener('pointerleave',()=>show(null));
c.addEventListener('focus',()=>show(c.dataset.node));c.addEventListener('blur',()=>show(null))})});
